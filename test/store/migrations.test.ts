import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrations, type Migration } from '../../src/store/migrations/migrations.ts'
import { openStore } from '../../src/store/open.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'

const newest = migrations.at(-1)!.number
const next = (statements: readonly string[]): Migration => ({
  number: newest + 1,
  name: 'the-next-one',
  statements: () => statements,
})

describe('migrations', () => {
  let directory: string
  let path: string
  let url: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'custody-migrations-'))
    path = join(directory, 'custody.db')
    url = `sqlite:${path}`
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const ledger = () => {
    const db = new Database(path, { readonly: true })
    const rows = db.prepare('select number, name, length(checksum) as length from migration').all()
    db.close()
    return rows
  }

  it('are numbered without gaps', () => {
    expect(migrations.map((m) => m.number)).toEqual(migrations.map((_, i) => i + 1))
  })

  it('run once, in order, and keep what is there', async () => {
    const store = await openStore({ url, codec })
    await store.commit([{ type: 'meta', key: 'k', value: 'v' }])
    await store.close()

    const newer = [...migrations, next(['alter table meta add column extra text'])]
    for (let i = 0; i < 2; i++) {
      const again = await openStore({ url, codec, migrations: newer })
      expect(await again.read.meta('k')).toBe('v')
      await again.close()
    }

    expect(ledger()).toEqual(newer.map(({ number, name }) => ({ number, name, length: 64 })))
  })

  it('refuse a database of a newer version', async () => {
    const newer = [...migrations, next(['create table t (n integer)'])]
    await (await openStore({ url, codec, migrations: newer })).close()

    await expect(openStore({ url, codec })).rejects.toMatchObject({
      code: 'databaseNewer',
      facts: { found: newest + 1, known: newest },
    })
  })

  it.each([
    ['reads', 'beside one that says it may', newest, true],
    ['does not read', 'beside one that says nothing', undefined, false],
    ['does not read', 'beside one that asks for more', newest + 1, false],
  ])('of a newer version: this one %s %s', async (_verb, _which, readableFrom, may) => {
    const one = { ...next(['create table t (n integer)']), ...(readableFrom && { readableFrom }) }
    const first = await openStore({ url, codec, migrations: [...migrations, one] })
    await first.commit([{ type: 'meta', key: 'k', value: 'v' }])
    await first.close()

    const reading = await openStore({ url, codec, readonly: true })
      .then(async (store) => {
        const value = await store.read.meta('k')
        await store.close()
        return value
      })
      .catch((error: Error & { readonly code?: string }) => error.code)
    expect(reading).toBe(may ? 'v' : 'databaseNewer')
    await expect(openStore({ url, codec })).rejects.toMatchObject({ code: 'databaseNewer' })
  })

  it('refuse to have been changed', async () => {
    const first = [...migrations, next(['create table t (n integer)'])]
    await (await openStore({ url, codec, migrations: first })).close()
    const changed = [...migrations, next(['create table t (n text)'])]

    await expect(openStore({ url, codec, migrations: changed })).rejects.toMatchObject({
      code: 'migrationChanged',
      facts: { name: 'the-next-one' },
    })
  })

  it('leave nothing behind when one fails', async () => {
    const broken = [...migrations, next(['create table t (n integer)', 'this is not SQL'])]

    await expect(openStore({ url, codec, migrations: broken })).rejects.toThrow('syntax error')
    expect(() => ledger()).toThrow('no such table')
    await (await openStore({ url, codec })).close()
    expect(ledger()).toHaveLength(migrations.length)
  })

  it('are not run by a store that only reads', async () => {
    await (await openStore({ url, codec })).close()
    const newer = [...migrations, next(['create table t (n integer)'])]

    await expect(
      openStore({ url, codec, migrations: newer, readonly: true }),
    ).rejects.toMatchObject({ code: 'notReady' })
  })
})
