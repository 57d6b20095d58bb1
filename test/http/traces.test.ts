import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { openTracing } from '../../src/host/tracing.ts'
import { eventually, startTestCustody } from '../support/custody.ts'

/** A span as OTLP/HTTP writes it in JSON. */
interface SentSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly attributes: readonly { readonly key: string; readonly value: object }[]
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[]
}

const servers: Server[] = []
afterAll(() => servers.forEach((server) => server.close()))
afterEach(() => {
  for (const name of Object.keys(process.env))
    if (name.startsWith('OTEL_')) delete process.env[name]
})

/** The smallest collector there can be: OTLP over HTTP, in JSON. */
async function startCollector() {
  const bodies: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      bodies.push(body)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const spans = (): readonly SentSpan[] =>
    bodies.flatMap((body) =>
      (
        JSON.parse(body) as {
          resourceSpans: { scopeSpans: { spans: SentSpan[] }[] }[]
        }
      ).resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans)),
    )
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, bodies, spans }
}

describe('traces', () => {
  it('follow a request into its commit, and the steps it queued through a link', async () => {
    const collector = await startCollector()
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url
    process.env['OTEL_RESOURCE_ATTRIBUTES'] = 'deployment.environment.name=test%20bench'
    process.env['OTEL_BSP_SCHEDULE_DELAY'] = '50'
    const custody = await startTestCustody()
    const [traceId, spanId] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7']
    const owner = await custody.createPerson('canary-person')
    const headers = { traceparent: `00-${traceId}-${spanId}-01` }
    const body = {
      schemas: [
        'urn:ietf:params:scim:schemas:core:2.0:User',
        'urn:custody:scim:schemas:extension:nhi:1.0:User',
      ],
      userName: 'canary-robot',
      'urn:custody:scim:schemas:extension:nhi:1.0:User': {
        kind: 'serviceAccount',
        owner: { value: owner },
        purpose: 'testing',
        credentials: [
          {
            provider: 'tokens',
            kind: 'api-token',
            scopes: ['read'],
            deliverTo: 'files:robot/token',
          },
        ],
      },
    }
    const answer = await custody.call('POST', '/scim/v2/Users', body, { headers })
    expect(answer.status).toBe(201)
    const secret = await eventually(
      () => custody.secretAt('robot/token'),
      (found) => found !== null,
    )
    await eventually(collector.spans, (spans) => spans.some((s) => s.name === 'step verify'))
    await custody.close()

    const spans = collector.spans()
    const request = spans.find((s) => s.parentSpanId === spanId)!
    expect(request).toMatchObject({ name: 'POST /scim/v2/Users', traceId })
    const commit = spans.find((s) => s.name === 'commit' && s.parentSpanId === request.spanId)
    expect(commit?.traceId).toBe(traceId)
    const issued = spans.find((s) => s.name === 'step issue-and-deliver')!
    expect(issued.links).toMatchObject([{ traceId }])
    const call = spans.find((s) => s.name === 'provider issue')
    expect(call).toMatchObject({ traceId: issued.traceId, parentSpanId: issued.spanId })
    expect(spans.some((s) => s.name === 'sink deliver' && s.traceId === issued.traceId)).toBe(true)
    const all = collector.bodies.join()
    expect(all).toContain('test bench')
    for (const word of ['canary', secret!, custody.adminToken]) expect(all).not.toContain(word)
  })

  it('are lost when the collector is dead, and nothing else is', async () => {
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:9'
    process.env['OTEL_BSP_SCHEDULE_DELAY'] = '20'
    const custody = await startTestCustody()
    await custody.createPerson('ada')
    const since = performance.now()
    await custody.close()

    expect(performance.now() - since).toBeLessThan(5_000)
  })

  it('are not collected unless somebody asks', async () => {
    let loads = 0
    const load = () => {
      loads++
      return Promise.reject(new Error('not here'))
    }
    const onProblem = () => undefined
    const common = { version: '1', instance: 'a', load, onProblem }
    const url = 'http://127.0.0.1:9'
    const envs = [
      {},
      { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
      { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_SDK_DISABLED: 'true' },
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url, OTEL_TRACES_EXPORTER: 'none' },
    ]
    for (const env of envs) expect(await openTracing({ ...common, env })).toBeNull()

    expect(loads).toBe(0)
  })

  it('are gone without, with one line in the log, where the packages are not installed', async () => {
    const told: string[] = []
    const tracing = await openTracing({
      env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:9' },
      version: '1',
      instance: 'a',
      load: () => Promise.reject(new Error('Cannot find package')),
      onProblem: (_facts, message) => told.push(message),
    })

    expect(tracing).toBeNull()
    expect(told).toEqual([
      'traces are asked for, but the @opentelemetry packages cannot be loaded; going on without',
    ])
  })
})
