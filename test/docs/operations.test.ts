import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { createLog } from '../../src/host/log.ts'
import { startTestCustody } from '../support/custody.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (name: string): string => readFileSync(path.join(root, name), 'utf8')
const operations = (name: string): string => read(`docs/operations/${name}`)

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly runbook_url: string }
}
const { groups } = parse(operations('alerts.yaml')) as { groups: { rules: Rule[] }[] }
const rules = groups.flatMap((group) => group.rules)

interface Panel {
  readonly id: number
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}
const { panels } = JSON.parse(operations('grafana-dashboard.json')) as { panels: Panel[] }
const targets = panels.flatMap((panel) => panel.targets ?? [])

/** What docs/reference/metrics.md lists, which another test holds to the code. */
const announced: ReadonlyMap<string, readonly string[]> = new Map(
  [
    ...read('docs/reference/metrics.md').matchAll(
      /^\| `([a-z_0-9]+)`(?: \{([a-z, ]+)\})? \| (\w+) \|/gm,
    ),
  ].flatMap(([, name, labels, type]): (readonly [string, readonly string[]])[] => {
    const known = labels?.split(', ') ?? []
    return type === 'histogram'
      ? [
          [`${name}_bucket`, [...known, 'le']] as const,
          [`${name}_sum`, known] as const,
          [`${name}_count`, known] as const,
        ]
      : [[name!, known] as const]
  }),
)
const functions = new Set(
  'absent and by count histogram_quantile increase max min or rate sum unless'.split(' '),
)

/** What an expression names that is no metric, label or function known; brackets have to match. */
function unknownIn(expr: string): readonly string[] {
  const words = [...expr.matchAll(/"[^"]*"|\[\w+\]|[a-zA-Z_]\w*|[(){}]/g)].map((m) => m[0])
  const metrics = words.filter((word) => announced.has(word))
  // `instance` and `job` are the scraper's own.
  const labels = new Set(['instance', 'job', ...metrics.flatMap((name) => announced.get(name)!)])
  const depth = words.reduce(
    (open, w) => open + Number(/[({]/.test(w[0]!)) - Number(/[)}]/.test(w[0]!)),
    0,
  )
  const odd = words.filter(
    (word) =>
      /^[a-zA-Z_]/.test(word) && !announced.has(word) && !labels.has(word) && !functions.has(word),
  )
  return [
    ...odd,
    ...(metrics.length === 0 ? ['no metric'] : []),
    ...(depth === 0 ? [] : ['brackets']),
  ]
}

describe('what operators are given', () => {
  it('asks for no metric or label that the code does not announce', () => {
    const asked = [...rules.map((r) => r.expr), ...targets.map((t) => t.expr)]

    expect(asked.length).toBeGreaterThan(40)
    expect(asked.flatMap((expr) => unknownIn(expr).map((word) => `${word}: ${expr}`))).toEqual([])
    expect(unknownIn('max(custody_nothing{x="1"}')).toEqual([
      'custody_nothing',
      'x',
      'no metric',
      'brackets',
    ])
    expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length)
  })

  it('has a section of the runbook for each alert, and a word on how urgent it is', () => {
    const runbook = operations('runbook.md')
    const sections = [...runbook.matchAll(/^## (\w+)$/gm)].map((m) => m[1])

    expect(sections).toEqual(rules.map((r) => r.alert))
    for (const { alert, labels, annotations } of rules) {
      expect(['page', 'ticket']).toContain(labels.severity)
      expect(annotations.summary).toMatch(/\.$/)
      expect(annotations.runbook_url).toBe(`docs/operations/runbook.md#${alert.toLowerCase()}`)
    }
  })

  it('names no file that is not there', () => {
    const copied = [...operations('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      (m) => m[1]!.split(' '),
    )
    const linked = [...operations('README.md').matchAll(/\]\(([^)#]+)/g)].map((m) =>
      path.join('docs/operations', m[1]!),
    )
    const compose = parse(operations('compose.yaml'), { merge: true }) as {
      services: Record<string, { build?: { dockerfile: string }; read_only?: boolean }>
    }
    const built = Object.values(compose.services).flatMap((s) =>
      s.build ? [s.build.dockerfile] : [],
    )

    expect(built).toHaveLength(2)
    expect(operations('custody.service')).toContain('bin/custody.js')
    const missing = [...copied, ...linked, ...built].filter(
      (name) => !existsSync(path.join(root, name)),
    )
    expect(missing).toEqual([])
  })

  it('describes every field that a line of the log has', async () => {
    const custody = await startTestCustody()
    const owner = await custody.createPerson('ada')
    await custody.requestAccount('robot', owner)
    await custody.running.worker.drain()
    await custody.close()
    const page = read('docs/reference/logs.md')
    const described = new Set(
      [...page.matchAll(/^\| (`.+?`) \|/gm)].flatMap((m) =>
        [...m[1]!.matchAll(/\w+/g)].map(String),
      ),
    )
    const lines: string[] = []
    createLog({
      level: 'info',
      about: () => ({ replica: 'a/1', traceId: 't', spanId: 's' }),
      write: (line) => lines.push(line),
    }).info({}, 'x')
    const seen = [...custody.log, ...lines]
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => ['request', 'step', 'sweep', 'x'].includes(String(msg)))

    expect(seen.length).toBeGreaterThan(5)
    expect(
      [...new Set(seen.flatMap(Object.keys))].filter((field) => !described.has(field)),
    ).toEqual([])
  })
})
