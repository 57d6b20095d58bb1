import type { CredentialKind } from '../domain/credential.ts'
import { day, parseDuration, seconds } from '../domain/time.ts'
import type { BrakeTerms, LifecycleTerms } from './lifecycle.ts'
import type { FreezeWindow, RawWindow } from './windows.ts'
import { freezeSchema, readWindow } from './windows.ts'

/** The shape of `lifecycle.yaml`, and how what it says becomes terms and rules. */

type Section = 'expiry' | 'rotation' | 'leaver'
type Partially<T> = { readonly [K in keyof T]?: T[K] }
export type TermsChange = {
  readonly [S in Section]?: Partially<LifecycleTerms[S]>
} & Partially<Pick<LifecycleTerms, 'hold' | 'enforcement' | 'require' | 'freeze'>>

export interface Rule {
  readonly name: string
  readonly provider: readonly string[] | null
  readonly kind: readonly string[] | null
  readonly environment: readonly string[] | null
  readonly label: readonly string[] | null
  readonly consumer: readonly string[] | null
  readonly imported: boolean | null
  readonly set: TermsChange
}

export interface RawDocument {
  readonly defaults: RawChange
  readonly rules?: readonly RawRule[] | null
}

type RawChange = Readonly<
  Record<
    string,
    | string
    | readonly string[]
    | readonly RawWindow[]
    | Readonly<Record<string, string | number | boolean>>
  >
>

interface RawRule {
  readonly name: string
  readonly when: {
    readonly provider?: string | readonly string[]
    readonly kind?: string | readonly string[]
    readonly environment?: string | readonly string[]
    readonly label?: string | readonly string[]
    readonly consumer?: string | readonly string[]
    readonly imported?: boolean
  }
  readonly set: RawChange
}

function list(value: string | readonly string[] | undefined): readonly string[] | null {
  return value === undefined ? null : typeof value === 'string' ? [value] : value
}

export function readRule(raw: RawRule): Rule {
  return {
    name: raw.name,
    provider: list(raw.when.provider),
    kind: list(raw.when.kind),
    environment: list(raw.when.environment),
    label: list(raw.when.label),
    consumer: list(raw.when.consumer),
    imported: raw.when.imported ?? null,
    set: readChange(raw.set),
  }
}

/** Durations become seconds wherever they stand; the schema has already said where they may. */
export function readChange({ require, freeze, ...raw }: RawChange): TermsChange {
  const read = (value: unknown): unknown => {
    if (typeof value === 'string') return parseDuration(value) ?? value
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, read(v)]))
  }
  const kinds = list(require as string | readonly string[] | undefined)
  return {
    ...(read(raw) as TermsChange),
    ...(kinds ? { require: kinds } : {}),
    ...(freeze === undefined ? {} : { freeze: windowsOf(freeze as readonly RawWindow[]) }),
  }
}

/** What cannot be read is left out here, and named by `freezeProblems`. */
function windowsOf(raw: readonly RawWindow[]): readonly FreezeWindow[] {
  return raw.map(readWindow).filter((w) => 'kind' in w)
}

/** Contract §8; also of a policy that was written before there was a brake. */
const standardBrake: BrakeTerms = { least: 5, hourly: 0.01, daily: 0.03 }

export function brakeOf(raw: RawChange): BrakeTerms {
  const { least, hourly, daily } = (raw['brake'] ?? {}) as Readonly<Record<string, unknown>>
  const share = (value: unknown, standard: number) =>
    typeof value === 'string' ? Number(value.slice(0, -1)) / 100 : standard
  return {
    least: typeof least === 'number' ? least : standardBrake.least,
    hourly: share(hourly, standardBrake.hourly),
    daily: share(daily, standardBrake.daily),
  }
}

const percent = {
  type: 'string',
  pattern: '^\\d{1,3}(\\.\\d{1,3})?%$',
  description: 'must be a share such as 1% or 0.5%.',
}

/** Of a directory, not of an account: rules, which select accounts, cannot change it. */
const brakeSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  properties: {
    least: { type: 'integer', minimum: 1, maximum: 1_000_000 },
    hourly: percent,
    daily: percent,
  },
}

const text = { type: 'string', minLength: 1 }
const oneOrMore = { type: ['string', 'array'], minLength: 1, minItems: 1, items: text }
const kinds: readonly CredentialKind[] = [
  'api-token',
  'access-key',
  'federated-role',
  'deploy-key',
  'app-token',
  'password',
  'manual',
]
/** A kind misspelt would be one that nobody issues: a rule that binds no one. */
const oneOrMoreKinds = {
  anyOf: [{ enum: kinds }, { type: 'array', minItems: 1, items: { enum: kinds } }],
}

const duration = { type: 'string', format: 'duration' }
const positive = { type: 'string', format: 'positive-duration' }

const sections: Readonly<Record<Section, Readonly<Record<string, object>>>> = {
  expiry: { default: positive, cap: positive },
  rotation: {
    every: positive,
    overlap: duration,
    soak: duration,
    maxAge: positive,
    atMaxAge: { enum: ['ask', 'end'] },
    remindEvery: positive,
  },
  leaver: {
    overlap: duration,
    acceptWithin: positive,
    backupMinAge: duration,
    groupGrace: duration,
    deletedGrace: duration,
    deactivatedGrace: duration,
    leaveDateGrace: duration,
    planAhead: duration,
    onMemberLeft: { enum: ['nothing', 'rotate'] },
    moverDebounce: duration,
    contain: { type: 'boolean' },
    containFor: positive,
    containWhenUsedWithin: duration,
  },
}

/**
 * What a policy need not say that was written before Custody knew it, with what holds then.
 */
const since: {
  readonly rotation: Pick<LifecycleTerms['rotation'], 'atMaxAge' | 'remindEvery'>
  readonly leaver: Pick<
    LifecycleTerms['leaver'],
    | 'deletedGrace'
    | 'deactivatedGrace'
    | 'leaveDateGrace'
    | 'planAhead'
    | 'onMemberLeft'
    | 'moverDebounce'
  >
} = {
  rotation: { atMaxAge: 'ask', remindEvery: day },
  leaver: {
    deletedGrace: seconds(0),
    deactivatedGrace: seconds(0),
    leaveDateGrace: seconds(0),
    planAhead: seconds(14 * day),
    onMemberLeft: 'nothing',
    moverDebounce: seconds(14 * day),
  },
}

/** The terms that hold where no rule says otherwise. */
export function readDefaults(raw: RawChange): LifecycleTerms {
  const { brake: _brake, ...said } = raw
  const terms = readChange(said)
  return {
    require: [],
    ...terms,
    rotation: { ...since.rotation, ...terms.rotation },
    leaver: { ...since.leaver, ...terms.leaver },
  } as LifecycleTerms
}

/** `defaults` must say everything that was ever required; a rule's `set` must say something. */
function changeSchema(complete: boolean): Readonly<Record<string, unknown>> {
  const all = [...Object.keys(sections), 'hold', 'enforcement']
  return {
    type: 'object',
    additionalProperties: false,
    minProperties: 1,
    required: complete ? all : [],
    properties: {
      ...Object.fromEntries(
        Object.entries(sections).map(([name, properties]) => [
          name,
          {
            type: 'object',
            additionalProperties: false,
            minProperties: 1,
            required: complete ? requiredOf(name, properties) : [],
            properties,
          },
        ]),
      ),
      hold: duration,
      enforcement: { enum: ['observe', 'enforce'] },
      require: oneOrMoreKinds,
      freeze: freezeSchema,
      ...(complete ? { brake: brakeSchema } : {}),
    },
  }
}

function requiredOf(section: string, properties: object): readonly string[] {
  const optional = section === 'expiry' ? {} : since[section as keyof typeof since]
  return Object.keys(properties).filter((name) => !Object.hasOwn(optional, name))
}

/** The JSON Schema of `lifecycle.yaml`. */
export const documentSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['defaults'],
  properties: {
    defaults: changeSchema(true),
    rules: {
      type: ['array', 'null'],
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['name', 'when', 'set'],
        properties: {
          name: text,
          when: {
            type: 'object',
            additionalProperties: false,
            minProperties: 1,
            properties: {
              provider: oneOrMore,
              kind: oneOrMore,
              environment: oneOrMore,
              label: oneOrMore,
              consumer: oneOrMore,
              imported: { type: 'boolean' },
            },
          },
          set: changeSchema(false),
        },
      },
    },
  },
}
