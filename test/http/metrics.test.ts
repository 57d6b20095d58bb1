import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  auditCollector,
  brakeCollector,
  processCollector,
  storeCollector,
  sweepCollector,
  workerCollector,
} from '../../src/http/collectors.ts'
import { createHistogram } from '../../src/http/histogram.ts'
import { createMetrics, type Collector } from '../../src/http/metrics.ts'
import type { Instant } from '../../src/domain/time.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { eventually, nhiUrn, startTestCustody, type TestCustody } from '../support/custody.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { parseExposition } from '../support/prometheus.ts'

const gauge = (name: string, collect: Collector['collect']): Collector => ({
  name: `of ${name}`,
  metrics: [{ name, type: 'gauge', help: 'A number.', labels: ['of'] }],
  collect,
})

/** Every sample by its name and labels, read strictly. */
function samplesOf(text: string): ReadonlyMap<string, number> {
  return new Map(
    parseExposition(text).flatMap((family) => family.samples.map((s) => [s.series, s.value])),
  )
}

describe('the registry of metrics', () => {
  it('writes the text format, with every name announced and every label escaped', async () => {
    const metrics = createMetrics([
      gauge('some_number', () => [
        { name: 'some_number', labels: { of: 'a "b"\\\n' }, value: 1.5 },
        { name: 'some_number', value: Infinity },
      ]),
      gauge('no_number', () => []),
    ])

    expect(await metrics.text()).toBe(
      [
        '# HELP some_number A number.',
        '# TYPE some_number gauge',
        'some_number{of="a \\"b\\"\\\\\\n"} 1.5',
        'some_number +Inf',
        '# HELP no_number A number.',
        '# TYPE no_number gauge',
        '# HELP custody_collector_up 1 when the source of some of these metrics could be read, else 0.',
        '# TYPE custody_collector_up gauge',
        'custody_collector_up{collector="of some_number"} 1',
        'custody_collector_up{collector="of no_number"} 1',
        '',
      ].join('\n'),
    )
  })

  it('serves the others when one source fails or says what it did not announce', async () => {
    const metrics = createMetrics([
      gauge('broken', () => Promise.reject(new Error('no database'))),
      gauge('stray', () => [{ name: 'elsewhere', value: 1 }]),
      gauge('good', () => [{ name: 'good', value: 7 }]),
    ])
    const samples = samplesOf(await metrics.text())

    expect([...samples]).toEqual([
      ['good', 7],
      ['custody_collector_up{collector="of broken"}', 0],
      ['custody_collector_up{collector="of stray"}', 0],
      ['custody_collector_up{collector="of good"}', 1],
    ])
  })

  it('refuses two sources of one name, and names that Prometheus does not know', () => {
    const one = gauge('one', () => [])

    expect(() => createMetrics([one, one])).toThrow('measured twice')
    expect(() => createMetrics([gauge('One-1', () => [])])).toThrow('no name')
  })
})

describe('what is measured', () => {
  it('counts steps and sweeps as they are noted', async () => {
    const clock = new ManualClock('2026-11-22T09:00:00.000Z')
    const worker = workerCollector(() => null)
    const sweeps = sweepCollector(clock)
    const step = { operation: 'x', kind: 'revoke', step: 'prove-dead', failure: null, error: null }
    for (const outcome of ['next', 'next', 'retry']) worker.note({ ...step, outcome })
    sweeps.note({ sweep: 'orphans', outcome: 'finished' })
    sweeps.note({ sweep: 'orphans', outcome: 'overlap' })
    sweeps.note({ sweep: 'expiry', outcome: 'failed' })
    const samples = samplesOf(await createMetrics([worker.collector, sweeps.collector]).text())

    const steps = 'custody_steps_total{kind="revoke",step="prove-dead",outcome='
    expect(samples.get(`${steps}"next"}`)).toBe(2)
    expect(samples.get(`${steps}"retry"}`)).toBe(1)
    const runs = 'custody_sweep_runs_total{sweep="orphans",outcome='
    expect(samples.get(`${runs}"finished"}`)).toBe(1)
    expect(samples.get(`${runs}"overlap"}`)).toBe(1)
    expect(samples.get('custody_sweep_last_run_ok{sweep="orphans"}')).toBe(1)
    expect(samples.get('custody_sweep_last_run_ok{sweep="expiry"}')).toBe(0)
    const at = 'custody_sweep_last_run_timestamp_seconds{sweep='
    expect(samples.get(`${at}"orphans"}`)).toBe(Date.parse(clock.now()) / 1_000)
    expect(samples.get(`${at}"rotation"}`)).toBe(0)
  })

  it('shows brakes, the way of the audit log out, and the process', async () => {
    const clock = new ManualClock('2026-11-22T09:00:00.000Z')
    const anchoredAt = clock.now()
    clock.advance(90)
    const metrics = createMetrics([
      brakeCollector(async () => [
        {
          tenant: null,
          name: 'restored',
          subject: '',
          since: '2026-11-22T09:00:00.000Z' as Instant,
          facts: {},
        },
      ]),
      auditCollector({
        clock,
        sequencer: () => ({ failures: 2, lagSeconds: 33, lastRoundAt: null, behind: ['default'] }),
        anchoredAt: () => Promise.resolve([anchoredAt]),
      }),
      processCollector(() => ({
        eventLoopDelayP99Seconds: 0.004,
        residentBytes: 5,
        openHandles: 6,
        openFiles: null,
      })),
    ])

    const samples = samplesOf(await metrics.text())
    expect(Object.fromEntries(samples)).toMatchObject({
      'custody_brake_engaged{brake="restored"}': 1,
      'custody_brake_engaged{brake="clock"}': 0,
      custody_audit_export_lag_seconds: 33,
      custody_audit_sequencer_failures_total: 2,
      custody_audit_behind_tenants: 1,
      custody_audit_anchor_age_seconds: 90,
      custody_event_loop_delay_p99_seconds: 0.004,
      process_resident_memory_bytes: 5,
    })
    expect(samples.has('process_open_fds')).toBe(false)
  })

  it('asks the store once for many scrapes', async () => {
    const clock = new ManualClock()
    const opened = await openStore({ url: 'sqlite::memory:', codec })
    let asked = 0
    const store: Store = {
      ...opened,
      read: {
        ...opened.read,
        vitals: (now) => {
          asked++
          return asked === 2 ? Promise.reject(new Error('locked')) : opened.read.vitals(now)
        },
      },
    }
    const metrics = createMetrics([storeCollector(store, clock)])
    await Promise.all([metrics.text(), metrics.text()])
    expect(asked).toBe(1)
    clock.advance(3)
    expect(await metrics.text()).toContain('custody_collector_up{collector="store"} 0')
    expect(await metrics.text()).toContain('custody_collector_up{collector="store"} 1')
    expect(asked).toBe(3)
    await opened.close()
  })
})

describe('GET /metrics', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  const scrape = async (token: string) => {
    const answer = await fetch(`${custody.url}/metrics`, {
      headers: { authorization: `Bearer ${token}` },
    })
    return {
      status: answer.status,
      type: answer.headers.get('content-type'),
      text: await answer.text(),
    }
  }

  it('is for auditors and administrators', async () => {
    const [auditor, security] = await Promise.all([
      custody.createClient('auditor'),
      custody.createClient('security'),
    ])

    expect((await fetch(`${custody.url}/metrics`)).status).toBe(401)
    expect(await scrape(auditor.token)).toMatchObject({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
    })
    expect((await scrape(security.token)).status).toBe(403)
  })

  it('tells how a running service does', async () => {
    const owner = await custody.createPerson('ada')
    await custody.requestAccount('robot', owner)
    await custody.running.worker.drain()
    const samples = samplesOf((await scrape(custody.adminToken)).text)

    expect([...samples].filter(([name, value]) => name.includes('_up{') && value !== 1)).toEqual([])
    expect(samples.get('custody_worker_slots')).toBe(32)
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
    expect(samples.get('custody_operations_needing_operator')).toBe(0)
    expect(samples.get('custody_audit_behind_tenants')).toBe(0)
  })

  it('serves what docs/reference/metrics.md describes, and nothing else', async () => {
    const root = path.resolve(import.meta.dirname, '../..')
    const page = readFileSync(path.join(root, 'docs/reference/metrics.md'), 'utf8')
    const described = [
      ...page.matchAll(/^\| `([a-z_0-9]+)`(?: \{([a-z, ]+)\})? \| (\w+) \|/gm),
    ].map(([, name, labels, type]) => `${name} {${labels ?? ''}} ${type}`)
    const served = parseExposition((await scrape(custody.adminToken)).text).map(
      ({ name, type, samples }) => {
        const known = described.find((d) => d.startsWith(`${name} `))
        const labels =
          samples[0] && Object.keys(samples[0].labels).filter((label) => label !== 'le')
        return labels === undefined && known ? known : `${name} {${labels?.join(', ')}} ${type}`
      },
    )

    expect(described.toSorted()).toEqual(served.toSorted())
  })

  it('measures what it serves by pattern, calls by target, and endings by their cause', async () => {
    const canary = 'Canary-7Q'
    const owner = await custody.createPerson(canary)
    const account = await custody.requestAccount(`${canary}-robot`, owner)
    await custody.running.worker.drain()
    const secret = await eventually(
      () => custody.secretAt(`${canary}-robot/token`),
      (s) => s !== null,
    )
    const [credential] = (await custody.call('GET', `/scim/v2/Users/${account.body.id}`)).body[
      nhiUrn
    ].credentials as { value: string }[]
    await custody.call('GET', `/scim/v2/Users?filter=userName%20eq%20%22${canary}%22`)
    await custody.call('GET', `/scim/v2/${canary}`)
    await custody.call('DELETE', `/scim/v2/Users/${owner}`)
    const { text } = await eventually(
      () => scrape(custody.adminToken),
      (answer) => answer.text.includes('proof="refused"'),
    )
    const families = new Map(parseExposition(text).map((f) => [f.name, f]))
    const labelsOf = (name: string) => families.get(name)!.samples.map((s) => s.labels)

    expect(labelsOf('custody_http_request_seconds')).toContainEqual({
      route: '/scim/v2/Users/:id',
      method: 'DELETE',
      status: '2xx',
    })
    expect(labelsOf('custody_http_request_seconds')).toContainEqual({
      route: 'none',
      method: 'GET',
      status: '4xx',
    })
    expect(
      labelsOf('custody_provider_call_seconds').map((l) => `${l['call']} ${l['outcome']}`),
    ).toContain('issue ok')
    expect(labelsOf('custody_revocation_seconds')).toContainEqual({
      kind: 'disable',
      cause: 'event',
      proof: 'refused',
    })
    expect(samplesOf(text).get('custody_http_requests_open')).toBe(1)
    for (const word of [
      canary,
      owner,
      account.body.id,
      credential!.value,
      secret,
      custody.adminToken,
    ]) {
      expect(word).toBeTruthy()
      expect(text.toLowerCase()).not.toContain(String(word).toLowerCase())
    }
  })
})

describe('a histogram', () => {
  it('adds its buckets up, and lets no set of labels grow for ever', async () => {
    const histogram = createHistogram({ name: 'h', help: 'Seconds.', labels: ['of'] }, [0.1, 1])
    for (const seconds of [0.05, 0.1, 0.5, 7]) histogram.series('a').observe(seconds)
    for (let i = 0; i < 2_000; i++) histogram.series(`x${i}`).observe(1)
    const text = await createMetrics([
      { name: 'one', metrics: [histogram.definition], collect: () => histogram.samples() },
    ]).text()

    const samples = samplesOf(text)
    expect(['0.1', '1', '+Inf'].map((le) => samples.get(`h_bucket{of="a",le="${le}"}`))).toEqual([
      2, 3, 4,
    ])
    expect(samples.get('h_sum{of="a"}')).toBeCloseTo(7.65)
    expect(samples.get('h_count{of="other"}')).toBe(1_001)
  })
})
