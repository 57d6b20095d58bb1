export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Ends a `switch` over a union: a new member becomes a type error here, not a silent fall-through. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${String(value)}`)
}
