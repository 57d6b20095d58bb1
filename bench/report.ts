import * as server from './cases.ts'
import type { BarChart, LineChart } from './chart.ts'
import { barChart, lineChart } from './chart.ts'
import type { Sample } from './measure.ts'
import { spread } from './measure.ts'
import type { Part, Results } from './result.ts'
import type { Measured } from './scim.ts'
import { figureTable, isMet, sampleTable } from './table.ts'

export const pageName = 'benchmarks.md'
export const requestsChart = 'benchmarks-requests.svg'
export const growthChart = 'benchmarks-growth.svg'

/** What is compared in the chart: with one, nothing beside Custody itself would be seen. */
const charted: readonly (readonly [string, string])[] = [
  ['get', 'GET by id'],
  ['filter userName', 'filter by userName'],
  ['filter externalId', 'filter by externalId'],
  ['create person', 'create'],
  ['PATCH active', 'PATCH active'],
]
const shown = [
  server.bare,
  server.raw,
  server.groupCommit,
  server.sqlite,
  server.oneCommitEach,
  server.postgres,
  server.indexed,
  server.documented,
]

/** Page and charts by their file names: nothing in them comes from anywhere but the results. */
export function renderReport(results: Results): Readonly<Record<string, string>> {
  const requests = results.parts.find((part) => part.measured.length > 0 && part.name !== 'growth')
  const growth = results.parts.find((part) => part.name === 'growth')
  const charts: Record<string, string> = {}
  if (requests !== undefined) charts[requestsChart] = barChart(requestsOf(requests))
  if (growth !== undefined) charts[growthChart] = lineChart(growthOf(growth.measured))
  return { [pageName]: pageOf(results, requests), ...charts }
}

function pageOf(results: Results, requests: Part | undefined): string {
  const { machine, versions, parts } = results
  const goals = parts.flatMap((part) =>
    part.figures
      .filter((figure) => isMet(figure) !== null)
      .map((figure) => ({ ...figure, name: `${part.name}: ${figure.name}` })),
  )
  const missed = goals.filter((goal) => isMet(goal) === false).length
  const times = parts.map((part) => part.at).sort()
  const commits = [...new Set(parts.map((part) => part.commit))]
  const sections = parts.map((part) => sectionOf(part, part === requests))
  return `# Benchmarks

Written by \`npm run bench -- report\` from [benchmarks.json](benchmarks.json), which keeps every sample;
not by hand. What is measured and how is in [bench/README.md](../../bench/README.md), how cost grows in
[scale.md](../explanation/scale.md).

| | |
| --- | --- |
| machine | ${machine.cores} × ${machine.processor}, ${machine.memoryGb} GB, Linux ${machine.kernel} |
| placed | ${machine.isPinned ? 'servers on core 0, load on core 1, PostgreSQL on both' : 'not pinned'} |
| versions | ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')} |
| date | ${times[0]?.slice(0, 16).replace('T', ' ') ?? ''} to ${times.at(-1)?.slice(11, 16) ?? ''} UTC |
| commit | ${commits.join(', ')} |

Medians of the rounds, with the least and the most in brackets. Only what stands in one table ran side
by side; ratios are taken within a round. Differences under 25 % are noise, and the same commands give
other absolute figures on another machine.

## Goals
${missed === 0 ? `All ${goals.length} were reached.` : `${goals.length - missed} of ${goals.length} were reached.`}

${figureTable(goals)}

${sections.join('\n')}`
}

function sectionOf(part: Part, hasChart: boolean): string {
  const lines = [`## ${capital(part.name)}`, '', `\`${part.command}\`: ${tookOf(part)}`, '']
  if (hasChart) lines.push(`![Requests per second, by server](${requestsChart})`, '')
  if (part.name === 'growth') lines.push(`![Cost by number of resources](${growthChart})`, '')
  if (part.measured.length > 0) lines.push(sampleTable(part.measured), '')
  const figures = part.measured.length > 0 ? [] : part.figures
  if (figures.length > 0) lines.push(figureTable(figures), '')
  return lines.join('\n')
}

function tookOf({ rounds, seconds, tookSeconds, measured }: Part): string {
  const each = measured.length > 0 ? ` of ${seconds} s` : ''
  return `${rounds} round${rounds === 1 ? '' : 's'}${each}, ${tookSeconds} s in all.`
}

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1)

function requestsOf(part: Part): BarChart {
  const groups = charted.flatMap(([what, name]) => {
    const bars = shown.flatMap((by) => {
      const found = part.measured.find((one) => one.what === what && one.by === by)
      return found === undefined ? [] : [{ series: by, value: over(found, (s) => s.perSecond) }]
    })
    return bars.length === 0 ? [] : [{ name, bars }]
  })
  const size = part.measured.find((one) => one.size !== '')?.size ?? ''
  return {
    title: `Requests per second over ${size} resources`,
    unit: 'requests per second',
    groups,
  }
}

function growthOf(measured: readonly Measured[]): LineChart {
  const names = new Map<string, Measured[]>()
  for (const one of measured) {
    const name = `${one.what}, ${one.by.replace('Custody, ', '')}`
    names.set(name, [...(names.get(name) ?? []), one])
  }
  return {
    title: 'Processor time of the server for one request',
    x: 'resources in the database',
    y: 'µs',
    lines: [...names].map(([name, all]) => ({
      name,
      points: all.map((one) => ({ x: countOf(one.size), value: over(one, (s) => s.cpu) })),
    })),
  }
}

function over(one: Measured, pick: (sample: Sample) => number) {
  return spread(one.samples.map(pick))
}

function countOf(size: string): number {
  return (
    Number.parseInt(size, 10) * (size.endsWith('m') ? 1_000_000 : size.endsWith('k') ? 1_000 : 1)
  )
}
