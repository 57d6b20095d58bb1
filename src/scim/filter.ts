import type { Brand } from '../domain/ids.ts'

export type CompareOperator = 'eq' | 'ne' | 'co' | 'sw' | 'ew' | 'gt' | 'ge' | 'lt' | 'le'
export type FilterValue = string | number | boolean | null

/** What the grammar yields (RFC 7644 §3.4.2.2); attribute paths are still plain text. */
export type FilterNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly FilterNode[] }
  | { readonly op: 'not'; readonly node: FilterNode }
  | {
      readonly op: 'compare'
      readonly path: string
      readonly operator: CompareOperator
      readonly value: FilterValue
      readonly at: number
    }
  | { readonly op: 'present'; readonly path: string; readonly at: number }
  | {
      readonly op: 'valuePath'
      readonly path: string
      readonly node: FilterNode
      /** The sub-attribute after the bracket, with its comparison: `emails[type eq "work"].value eq "x"`. */
      readonly at: number
    }

/** An attribute resolved against the schemas: what the store needs to find it in a document. */
export interface BoundAttribute {
  /** Canonical spelling, e.g. `userName`, `name.familyName`, `urn:…:nhi:1.0:User:owner.value`. */
  readonly path: string
  /** Object keys from the document root; an extension URN is one key. */
  readonly keys: readonly string[]
  /** For each key, whether its value is an array (then any element may match). */
  readonly multiValued: readonly boolean[]
  readonly type: 'string' | 'boolean' | 'decimal' | 'integer' | 'dateTime' | 'binary' | 'reference'
  readonly caseExact: boolean
}

export type BoundNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly BoundNode[] }
  | { readonly op: 'not'; readonly node: BoundNode }
  | {
      readonly op: 'compare'
      readonly attribute: BoundAttribute
      readonly operator: CompareOperator
      /** Normalised: lower case (simple, by `normalise`) unless caseExact; dateTime as Instant. */
      readonly value: FilterValue
    }
  | { readonly op: 'present'; readonly attribute: BoundAttribute }
  /** `element` attributes are relative to one element of `attribute`. */
  | { readonly op: 'valuePath'; readonly attribute: BoundAttribute; readonly element: BoundNode }
  /** An attribute no schema knows, in the lenient dialect: matches nothing. */
  | { readonly op: 'never' }

/** The only form a store accepts: every path known, every value of its attribute's type. */
export type BoundFilter = Brand<{ readonly root: BoundNode }, 'BoundFilter'>
