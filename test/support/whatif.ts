import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Client } from '../../src/domain/client.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { Group } from '../../src/domain/group.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { parseDuration } from '../../src/domain/time.ts'
import type { Caller } from '../../src/lifecycle/engine.ts'
import { unique } from './entities.ts'
import type { TestEngine } from './engine.ts'
import { startTestEngine, userSchema } from './engine.ts'
import { FoundWorld, foundModule } from './found-provider.ts'

const root = path.resolve(import.meta.dirname, '../..')
const page = path.join(root, 'docs/explanation/what-happens-when.md')
const shipped = parse(readFileSync(path.join(root, 'policies/lifecycle.yaml'), 'utf8')) as {
  readonly defaults: unknown
  readonly rules: readonly { readonly when: Record<string, unknown>; readonly set: unknown }[]
}

/** One line of the page, and what a scenario has made of it. */
export class Row {
  readonly event: string
  readonly #words: ReadonlySet<string>
  readonly #settings: ReadonlyMap<string, string>
  readonly #used = new Set<string>()

  constructor(event: string, what: string, defaults: string, settings: string) {
    this.event = event
    // A command is an advice to the reader; what it does is what the words are about.
    this.#words = new Set(ticked(what).filter((word) => !word.startsWith('custody ')))
    const [values, names] = [ticked(defaults), ticked(settings)]
    assert.equal(values.length, names.length, `${event}: one default for each setting`)
    this.#settings = new Map(names.map((name, i) => [name, values[i]!]))
  }

  /** What each setting is in the policy as shipped; undefined = there is no such setting. */
  shipped(): readonly (readonly [name: string, said: string, is: string | undefined])[] {
    return [...this.#settings].map(([name, said]) => [name, said, valueOf(name)])
  }

  /** The line says this word, and it is so. */
  is(word: string, actual: unknown): void {
    assert.equal(actual, word, this.event)
    assert.ok(this.#words.has(word), `${this.event}: the line does not say "${word}"`)
    this.#used.add(word)
  }

  /** The value of a setting that the line names. */
  value(name: string): string {
    const value = this.#settings.get(name)
    if (value === undefined) throw new Error(`The line "${this.event}" does not name ${name}.`)
    this.#used.add(name)
    return value
  }

  seconds(name: string): number {
    const span = parseDuration(this.value(name))
    if (span === null) throw new Error(`${name} is not a duration.`)
    return span
  }

  /** What the line says and no scenario looked at. */
  unproven(): readonly string[] {
    return [...this.#words, ...this.#settings.keys()].filter((one) => !this.#used.has(one))
  }
}

/** The lines of all tables of the page, in their order. */
export function rowsOfPage(): readonly Row[] {
  const lines = readFileSync(page, 'utf8').split('\n')
  return lines
    .filter((line) => line.startsWith('| ') && !/^\| (when|---)/.test(line))
    .map((line) => {
      const cells = line.slice(2, -2).split(' | ')
      assert.equal(cells.length, 4, line)
      const [event = '', what = '', defaults = '', settings = ''] = cells
      return new Row(event, what, defaults, settings)
    })
}

const ticked = (cell: string): readonly string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)

/** `leaver.contain (prod)` is what the rule for production sets; without brackets it is the default. */
function valueOf(name: string): string | undefined {
  const [, at = '', rule] = /^([\w.]+)(?: \((\w+)\))?$/.exec(name) ?? []
  const selects = (when: Record<string, unknown>) =>
    Object.keys(when).length === 1 &&
    (rule === 'imported' ? when['imported'] === true : when['environment'] === rule)
  const from =
    rule === undefined ? shipped.defaults : shipped.rules.find((r) => selects(r.when))?.set
  let value: unknown = from
  for (const part of at.split('.')) value = (value as Record<string, unknown> | undefined)?.[part]
  return typeof value === 'string' || value === undefined ? value : JSON.stringify(value)
}

/** One installation for all lines: each line has a directory of its own, so no brake mixes them. */
export interface Bench {
  /** Begins a line. */
  readonly begin: () => void
  readonly test: TestEngine
  readonly found: FoundWorld
  /** Where the people and groups of this line live. */
  readonly directory: () => string
  readonly person: (more?: { readonly manager?: string }) => Promise<string>
  readonly group: (...members: string[]) => Promise<Group>
  readonly members: (
    group: Group,
    add: readonly string[],
    remove: readonly string[],
  ) => Promise<void>
  readonly as: (person: string, more?: Partial<Client>) => Caller
  readonly sweep: (
    ...names: readonly ('orphans' | 'expiry' | 'rotation' | 'reconcile')[]
  ) => Promise<void>
  readonly credentialOf: (account: ServiceAccount | string) => Promise<Credential>
  readonly status: (account: ServiceAccount) => Promise<string>
  readonly leaveOf: (person: string) => Promise<Operation>
  readonly actions: (target: string) => Promise<readonly string[]>
}

/** Not shipped, but what a reader of the page would write: each rule for one label. */
const rules = `
  - name: no change at the turn of the year
    when: { label: rests }
    set: { freeze: [{ name: turn, from: 2026-12-18, until: 2027-01-04 }] }
  - name: leaves of absence
    when: { label: patient }
    set: { leaver: { deactivatedGrace: P2D } }
`

export async function startBench(): Promise<Bench & { readonly close: () => Promise<void> }> {
  const found = new FoundWorld()
  const test = await startTestEngine({
    brake: true,
    policy: (text) => `${text}${rules}`,
    more: [{ entry: { name: 'found', type: 'found', config: {} }, module: foundModule(found) }],
  })
  const { engine, admin, store } = test
  const credentialOf: Bench['credentialOf'] = async (account) => {
    const [credential] = await test.credentials(typeof account === 'string' ? account : account.id)
    return credential!
  }
  let directory = ''
  const provisioner = () => test.caller('directory', { directory })
  return {
    test,
    found,
    credentialOf,
    begin() {
      directory = unique('directory')
    },
    directory: () => directory,
    close: () => test.close(),
    async person({ manager } = {}) {
      const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
      const more = manager === undefined ? {} : { [enterprise]: { manager: { value: manager } } }
      const { person } = await engine.createPerson(provisioner(), {
        type: 'person',
        userName: unique('person'),
        externalId: null,
        active: true,
        attributes: { schemas: [userSchema], ...more },
      })
      return person.id
    },
    group: (...members) =>
      engine.createGroup(
        provisioner(),
        {
          displayName: unique('group'),
          externalId: null,
          attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'] },
        },
        members.map((id) => ({ id, type: undefined, display: null })),
        { keepsUnknown: false },
      ),
    async members({ id }, add, remove) {
      const wishes = add.map((member) => ({ id: member, type: undefined, display: null }))
      await engine.updateGroup(
        provisioner(),
        await engine.group(provisioner(), id),
        { group: null, members: { replace: false, add: wishes, remove: [...remove] } },
        { exact: false, keepsUnknown: false },
      )
    },
    as: (person, more = {}) => test.caller('owner', { person: person as never, ...more }),
    async sweep(...names) {
      for (const name of names) await engine.runSweep(admin, name)
      await test.pass(2)
    },
    status: async ({ id }) => (await test.account(id)).status,
    async leaveOf(person) {
      return (await test.operations(person)).find((o) => o.kind === 'leave')!
    },
    async actions(target) {
      const rows = await store.read.audit(admin.tenant, { target, after: null, limit: 200 })
      return rows.map((row) => row.action)
    },
  }
}

export type Scenario = (bench: Bench, row: Row) => Promise<void>
