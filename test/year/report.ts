import type { YearFigures } from './year.ts'

/** What a year has to reach (docs/reference/year.md). */
const goals: readonly {
  readonly name: string
  readonly isReached: (figures: YearFigures) => boolean
  readonly value: (figures: YearFigures) => string
}[] = [
  {
    name: 'human decisions a week ≤ 5',
    isReached: (f) => f.decisionsPerWeek <= 5,
    value: (f) => f.decisionsPerWeek.toFixed(2),
  },
  {
    name: 'failed consumer calls in planned rotation = 0',
    isReached: (f) => f.failedInRotation === 0,
    value: (f) => String(f.failedInRotation),
  },
  {
    name: 'false kills not undone within 60 s of the decision = 0',
    isReached: (f) => f.falseKillsNotUndone === 0,
    value: (f) =>
      `${f.falseKillsNotUndone} of ${f.falseKills} (most ${f.undoSecondsMost.toFixed(1)} s)`,
  },
  {
    name: 'orphans older than 24 h = 0',
    isReached: (f) => f.orphans === 0,
    value: (f) => String(f.orphans),
  },
  {
    name: 'state accuracy after a truth check = 100 %',
    isReached: (f) => f.accuracy.after === 100,
    value: (f) => `${f.accuracy.after.toFixed(2)} % (before ${f.accuracy.before.toFixed(2)} %)`,
  },
  {
    name: 'steps that failed unexpectedly = 0',
    isReached: (f) => f.errors.length === 0,
    value: (f) => String(f.errors.length),
  },
]

/** The goals that were missed, with what was reached instead. */
export function missed(figures: YearFigures): readonly string[] {
  return goals
    .filter((goal) => !goal.isReached(figures))
    .map((goal) => `${goal.name}: ${goal.value(figures)}`)
}

export function report(figures: YearFigures): string {
  const { accounts, exposureHours, mailsPerOwnerWeek } = figures
  const list = (counts: ReadonlyMap<string, number>) =>
    [...counts].map(([what, n]) => `${n} ${what}`).join(', ') || 'none'
  const failures = [...figures.failures].map(
    ([cause, { consumers, calls }]) => `${calls} of ${consumers} (${cause})`,
  )
  return [
    `seed ${figures.seed}: ${figures.weeks} weeks, ${figures.people} people (+${figures.hires} −${figures.leavers}), ` +
      `${accounts.first} → ${accounts.last} accounts, ${figures.operations} claims, ` +
      `${figures.providerCalls} provider calls, ${figures.consumerCalls} consumer calls, ${figures.seconds.toFixed(1)} s`,
    ...goals.map((goal) => {
      const sign = goal.isReached(figures) ? 'ok    ' : 'MISSED'
      return `  ${sign} ${goal.name}: ${goal.value(figures)}`
    }),
    `         decisions: ${list(figures.decisions)}; besides ${figures.confirmed} accounts confirmed by the calendar`,
    `         false kills: ${list(figures.falseKillsBy)}`,
    `         failed calls: ${failures.join(', ') || 'none'}`,
    `         exposure p50 ${exposureHours.p50.toFixed(2)} h, p99 ${exposureHours.p99.toFixed(2)} h of ${exposureHours.of} secrets`,
    `         mails: ${list(figures.mails)}; per owner and week ${mailsPerOwnerWeek.mean.toFixed(3)}, most ${mailsPerOwnerWeek.most}`,
    ...figures.errors.slice(0, 3).map((error) => `         ${error}`),
  ].join('\n')
}
