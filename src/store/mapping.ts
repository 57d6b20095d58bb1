import type { Row, SqlValue } from './sql.ts'

type Field = string | { readonly column: string; readonly as: 'json' | 'flag' }

/** A column holding JSON text. */
export function json(column: string): Field {
  return { column, as: 'json' }
}

/** A boolean held as 0 or 1 in every database, so that rows look the same everywhere. */
export function flag(column: string): Field {
  return { column, as: 'flag' }
}

/** How one entity lies in one table; every attribute must be named, so none can be forgotten. */
export interface Mapping<T> {
  readonly columns: readonly string[]
  toRow(entity: T): Row
  /** @param prefix for rows of a join, whose columns were selected as `<prefix><column>` */
  fromRow(row: Row, prefix?: string): T
}

export function mapping<T extends object>(fields: {
  readonly [K in keyof Required<T>]: Field
}): Mapping<T> {
  const list = Object.entries(fields as Record<string, Field>).map(([key, field]) =>
    typeof field === 'string' ? { key, column: field, as: 'plain' as const } : { key, ...field },
  )
  return {
    columns: list.map((f) => f.column),
    toRow(entity) {
      const row: Record<string, SqlValue> = {}
      for (const { key, column, as } of list) {
        const value = (entity as Record<string, unknown>)[key]
        row[column] =
          as === 'plain' || value === null
            ? (value as SqlValue)
            : as === 'flag'
              ? Number(value)
              : JSON.stringify(value)
      }
      return row
    },
    fromRow(row, prefix = '') {
      const entity: Record<string, unknown> = {}
      for (const { key, column, as } of list) {
        const value = row[prefix + column]!
        entity[key] =
          as === 'plain' || value === null
            ? value
            : as === 'flag'
              ? value === 1
              : JSON.parse(value as string)
      }
      return entity as T
    },
  }
}
