import { readFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import { parse } from 'yaml'

/** One call, and what of its answer is compared. */
export interface Step {
  /** How the transcript calls it; unique. */
  readonly name: string
  readonly service: 'iam' | 'sts' | 'secretsmanager' | 'github'
  /** `CreateUser`; of GitHub a route, `POST /repos/{owner}/{repo}/keys`. */
  readonly operation: string
  /** `${name}` stands for what was captured, for `run` (new each time), `uuid1` … `uuid9` or a variable. */
  readonly input?: unknown
  /** Name → where it is in the answer: `AccessKey.AccessKeyId`. */
  readonly capture?: Readonly<Record<string, string>>
  /** Members of the answer to compare, by path; absent: all of it. Of a refusal: name and status. */
  readonly compare?: readonly string[]
  /** The key pair to sign with instead of the ambient one. */
  readonly as?: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Repeated for up to `patience` seconds while it is answered so: what is new takes time to spread. */
  readonly whileAnswered?: string
  readonly patience?: number
}

export interface Scenario {
  readonly about: string
  /** Defaults of variables; `--var name=value` sets them. */
  readonly variables?: Readonly<Record<string, string>>
  readonly steps: readonly Step[]
  /** Played at the end whatever happened, and not compared. */
  readonly cleanup?: readonly Step[]
}

const text = { type: 'string', minLength: 1 }
const step = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'service', 'operation'],
  properties: {
    name: text,
    service: { enum: ['iam', 'sts', 'secretsmanager', 'github'] },
    operation: text,
    input: { type: 'object' },
    capture: { type: 'object', additionalProperties: text },
    compare: { type: 'array', items: text },
    as: {
      type: 'object',
      additionalProperties: false,
      required: ['accessKeyId', 'secretAccessKey'],
      properties: { accessKeyId: text, secretAccessKey: text },
    },
    whileAnswered: text,
    patience: { type: 'number', minimum: 0, maximum: 600 },
  },
}
const validate = new Ajv({ allErrors: true }).compile<Scenario>({
  type: 'object',
  additionalProperties: false,
  required: ['about', 'steps'],
  properties: {
    about: text,
    variables: { type: 'object', additionalProperties: { type: 'string' } },
    steps: { type: 'array', minItems: 1, items: step },
    cleanup: { type: 'array', items: step },
  },
})

/** @throws Error that names every problem of the file */
export async function readScenario(file: string): Promise<Scenario> {
  const value: unknown = parse(await readFile(file, 'utf8'))
  if (validate(value)) return value
  const problems = validate.errors!.map((e) => `  ${e.instancePath || '/'} ${e.message}`)
  throw new Error(`${file} is no scenario:\n${problems.join('\n')}`)
}
