import type { Seconds } from '../domain/time.ts'

export interface LifecycleTerms {
  readonly expiry: { readonly default: Seconds; readonly cap: Seconds }
  readonly rotation: {
    readonly every: Seconds
    readonly overlap: Seconds
    readonly soak: Seconds
    readonly maxAge: Seconds
  }
  readonly leaver: {
    readonly overlap: Seconds
    readonly acceptWithin: Seconds
    readonly backupMinAge: Seconds
    readonly containFor: Seconds
    readonly containWhenUsedWithin: Seconds
    readonly contain: boolean
  }
  readonly hold: Seconds
  readonly enforcement: 'observe' | 'enforce'
}

export interface TermsSubject {
  readonly provider?: string | null
  readonly kind?: string | null
  readonly environment: string | null
  readonly labels: readonly string[]
  readonly imported: boolean
}

export interface LifecyclePolicy {
  readonly version: string
  termsFor(subject: TermsSubject): LifecycleTerms
}
