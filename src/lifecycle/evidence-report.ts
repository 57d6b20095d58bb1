import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Instant } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import type { Framework } from './evidence-controls.ts'
import { controls, frameworks } from './evidence-controls.ts'
import type { Measure, MeasureName } from './evidence-measures.ts'
import { auditRange, measure } from './evidence-measures.ts'

export interface ControlEvidence {
  readonly control: string
  readonly title: string
  /** Null where Custody does nothing for it. */
  readonly claim: string | null
  readonly figures: Readonly<Record<string, Measure['value']>>
  /** How each figure is found again. */
  readonly found: readonly { readonly figure: MeasureName; readonly query: string }[]
  /**
   * `holds`: no figure speaks against the claim. `exceptions`: some do. `partly`: none does, and there
   * are gaps. `notCovered`: Custody does nothing for it.
   */
  readonly verdict: 'holds' | 'partly' | 'exceptions' | 'notCovered'
  readonly exceptions: readonly string[]
  readonly gaps: readonly string[]
}

export interface EvidenceReport {
  readonly framework: Framework
  readonly at: Instant
  readonly tenant: string
  readonly policies: { readonly lifecycle: string; readonly authorisation: string }
  /** The log that everything above can be traced in, as far as it is signed. */
  readonly audit: JsonObject
  /** Figures that are lower bounds. */
  readonly atLeast: readonly string[]
  readonly summary: Readonly<Record<ControlEvidence['verdict'], number>>
  readonly controls: readonly ControlEvidence[]
}

/**
 * Evidence by the controls of a framework, measured now. It says what Custody can show, not that
 * somebody complies. @throws forbidden, invalidValue
 */
export async function evidenceReport(
  life: Lifecycle,
  caller: Caller,
  name: string | null,
): Promise<EvidenceReport> {
  const { measures, posture } = await measure(life, caller)
  const framework = frameworks.find((f) => f === name)
  if (framework === undefined) {
    const reason = `must be one of ${frameworks.join(', ')}.`
    throw errors.invalidValue({ path: 'framework', reason })
  }
  const rows = controls[framework].map(({ measures: used, ...control }): ControlEvidence => {
    const exceptions = used.flatMap((figure) => measures[figure].exception ?? [])
    const standing = control.gaps.length === 0 ? 'holds' : 'partly'
    return {
      ...control,
      figures: Object.fromEntries(used.map((figure) => [figure, measures[figure].value])),
      found: used.map((figure) => ({ figure, query: measures[figure].query })),
      verdict:
        control.claim === null ? 'notCovered' : exceptions.length > 0 ? 'exceptions' : standing,
      exceptions,
    }
  })
  const count = (verdict: ControlEvidence['verdict']) =>
    rows.filter((row) => row.verdict === verdict).length
  return {
    framework,
    at: posture.at,
    tenant: caller.tenant,
    policies: {
      lifecycle: life.policy().version,
      authorisation: life.authoriser().version,
    },
    audit: await auditRange(life, caller),
    atLeast: posture.atLeast,
    summary: {
      holds: count('holds'),
      partly: count('partly'),
      exceptions: count('exceptions'),
      notCovered: count('notCovered'),
    },
    controls: rows,
  }
}
