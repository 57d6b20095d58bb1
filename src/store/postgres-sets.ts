import type { PoolClient } from 'pg'
import { bind, Gap, type Outcome, type Row, type SqlValue, type Statement } from './sql.ts'

/** A statement that does for many rows of values what another does for one. */
interface SetForm {
  readonly name: string
  readonly text: string
  /** Places in the other's parameters, one for each list. */
  readonly lists: readonly number[]
}

const asColumn = 'custody_n'

/**
 * The same statement for many rows, as one statement over lists: a trip, a plan and a look at each
 * index for all of them. It is made from the text of the one, so rooms write theirs as ever.
 *
 * Some have no such form and are run one by one: what deletes, what returns rows of an update, and
 * inserts that resolve conflicts. An update needs rows with different ids, since of two that meet
 * the same row PostgreSQL would apply one.
 */
export class SetForms {
  readonly #known = new WeakMap<Statement, SetForm | null>()
  #made = 0

  /** Whether several runs of it may become one. */
  allows(statement: Statement): boolean {
    return templateOf(statement) !== null
  }

  /** @param list at least one row of arguments; for an update, of different ids */
  async run(
    client: PoolClient,
    statement: Statement,
    list: readonly Row[],
  ): Promise<readonly Outcome[]> {
    const form = await this.#formOf(client, statement)
    if (form === null) throw new Error('this statement has no form for many rows')
    const bound = list.map((args) => bind(statement, args))
    const result = await client.query<Record<string, SqlValue>>({
      name: form.name,
      text: form.text,
      values: form.lists.map((place) => bound.map((values) => values[place])),
    })
    if (isInsert(statement)) return list.map(() => ({ rows: [], changes: 1 }))
    const found = list.map((): Row[] => [])
    for (const { [asColumn]: n, ...row } of result.rows) found[Number(n) - 1]!.push(row)
    return found.map((rows) => ({ rows, changes: rows.length }))
  }

  async #formOf(client: PoolClient, statement: Statement): Promise<SetForm | null> {
    const known = this.#known.get(statement)
    if (known !== undefined) return known
    const template = templateOf(statement)
    const form = template && (await this.#make(client, statement, template))
    this.#known.set(statement, form)
    return form
  }

  async #make(client: PoolClient, statement: Statement, template: Template): Promise<SetForm> {
    const types = await typesOf(client, statement.text)
    const lists: number[] = []
    const columnOf = new Map<unknown, string>()
    const references = statement.parameters.map((parameter, place) => {
      // A gap that is named twice is one list, unless the database takes it for two types.
      const key = parameter instanceof Gap ? `${parameter.name} ${types[place]}` : place
      let column = columnOf.get(key)
      if (column === undefined) {
        columnOf.set(key, (column = `custody_${lists.length}`))
        lists.push(place)
      }
      return `given.${column}`
    })
    const from = `unnest(${lists.map((place, i) => `$${i + 1}::${types[place]}[]`).join(', ')})
      with ordinality as given(${[...lists.map((_, i) => `custody_${i}`), asColumn].join(', ')})`
    const refer = (text: string): string =>
      text.replaceAll(/\$(\d+)/g, (_, n: string) => references[Number(n) - 1]!)
    return { name: `custody_set_${this.#made++}`, text: template(refer, from), lists }
  }
}

type Template = (refer: (text: string) => string, from: string) => string

const templates = new WeakMap<Statement, { readonly template: Template | null }>()

function templateOf(statement: Statement): Template | null {
  let known = templates.get(statement)
  if (known === undefined) templates.set(statement, (known = { template: makeTemplate(statement) }))
  return known.template
}

const insert = /^(insert into "\w+" \([^)]+\)) values \((\$\d+(?:, \$\d+)*)\)$/

function isInsert({ text }: Statement): boolean {
  return text.startsWith('insert ')
}

function makeTemplate(statement: Statement): Template | null {
  const { text, parameters } = statement
  if (parameters.length === 0) return null
  const [, into, values] = insert.exec(text) ?? []
  if (into !== undefined) {
    return (refer, from) => `${into} select ${refer(values!)} from ${from}`
  }
  if (text.startsWith('select ')) {
    return (refer, from) =>
      `select given.${asColumn}, found.* from ${from} cross join lateral (${refer(text)}) as found`
  }
  const hasId = parameters.some((p) => p instanceof Gap && p.name === 'id')
  if (!text.startsWith('update ') || !hasId) return null
  const plain = outermost(text)
  const where = plain.indexOf(' where ')
  if (where < 0 || / from | returning /.test(plain)) return null
  return (refer, from) =>
    `${refer(text.slice(0, where))} from ${from}${refer(text.slice(where))} returning given.${asColumn}`
}

/** The text with blanks for what stands in brackets or quotes, so that clauses can be found. */
function outermost(text: string): string {
  let depth = 0
  let quoted = false
  let plain = ''
  for (const char of text) {
    if (char === "'") quoted = !quoted
    else if (!quoted && char === ')') depth -= 1
    plain += quoted || depth > 0 ? ' ' : char
    if (!quoted && char === '(') depth += 1
  }
  return plain
}

/** What PostgreSQL takes the parameters for. */
async function typesOf(client: PoolClient, text: string): Promise<readonly string[]> {
  await client.query(`prepare custody_types as ${text}`)
  const { rows } = await client.query<{ types: string[] }>(
    `select parameter_types::text[] as types from pg_prepared_statements where name = 'custody_types'`,
  )
  await client.query('deallocate custody_types')
  return rows[0]!.types
}
