import { AsyncLocalStorage } from 'node:async_hooks'
import type { Span as OtelSpan, SpanContext } from '@opentelemetry/api'
import type { Sampler, SpanExporter } from '@opentelemetry/sdk-trace'
import type { Span, SpanStart, Tracer } from '../domain/trace.ts'

/** Where the spans of this process go. */
export interface Tracing {
  readonly tracer: Tracer
  /** What a line of the log says of the running span; null outside of any. */
  current(): { readonly traceId: string; readonly spanId: string } | null
  /** Sends what waits, for `closeMilliseconds` at most: no collector delays a shutdown. */
  close(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>

export interface TracingOptions {
  /** The process's own when omitted, which is what the exporter reads in any case. */
  readonly env?: Environment
  readonly version: string
  /** The name of this process among its replicas. */
  readonly instance: string
  /** Told of what keeps traces from being collected; everything else goes on. */
  readonly onProblem: (facts: object, message: string) => void
  /** How the packages are loaded, which may not be installed. */
  readonly load?: () => Promise<Packages>
}

type Packages = Awaited<ReturnType<typeof loadPackages>>

const closeMilliseconds = 2_000

/** Whether the standard environment variables ask for traces. */
export function wantsTraces(env: Environment): boolean {
  const endpoint =
    env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_ENDPOINT'] || ''
  const isOff = env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true'
  return endpoint !== '' && !isOff && env['OTEL_TRACES_EXPORTER'] !== 'none'
}

/**
 * Collects traces when the environment asks for them (OpenTelemetry's own variables, which its exporter
 * reads itself); loads nothing otherwise.
 * @returns null when nobody asks, or when the packages are not installed
 */
export async function openTracing(options: TracingOptions): Promise<Tracing | null> {
  const { env = process.env, onProblem } = options
  if (!wantsTraces(env)) return null
  let packages: Packages
  try {
    packages = await (options.load ?? loadPackages)()
  } catch (error) {
    const message =
      'traces are asked for, but the @opentelemetry packages cannot be loaded; going on without'
    onProblem({ error }, message)
    return null
  }
  const { api, sdk, resources, otlp } = packages
  const resource = resources
    .defaultResource()
    .merge(
      resources.resourceFromAttributes({
        'service.name': env['OTEL_SERVICE_NAME'] || 'custody',
        'service.version': options.version,
        'service.instance.id': options.instance,
      }),
    )
    .merge(resources.resourceFromAttributes(attributesOf(env)))
  const delay = Number(env['OTEL_BSP_SCHEDULE_DELAY'])
  const provider = new sdk.TracerProvider({
    resource,
    sampler: samplerOf(env, sdk, onProblem),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: telling(new otlp.OTLPTraceExporter(), onProblem),
        ...(delay > 0 ? { scheduledDelayMillis: delay } : {}),
      }),
    ],
  })
  const inner = provider.getTracer('custody', options.version)
  const running = new AsyncLocalStorage<SpanContext>()
  const kinds = {
    server: api.SpanKind.SERVER,
    client: api.SpanKind.CLIENT,
    internal: api.SpanKind.INTERNAL,
  }

  const spanOf = (span: OtelSpan): Span => ({
    run: (work) => running.run(span.spanContext(), work),
    end(facts, failure) {
      if (facts) span.setAttributes(facts)
      if (failure !== undefined) {
        span.setAttribute('error.type', failure)
        span.setStatus({ code: api.SpanStatusCode.ERROR })
      }
      span.end()
    },
  })

  const start = ({ name, kind, facts, parent, link }: SpanStart): Span => {
    const above = (parent === undefined ? null : contextOf(parent)) ?? running.getStore()
    const linked = link === undefined ? null : contextOf(link)
    const context = above ? api.trace.setSpanContext(api.ROOT_CONTEXT, above) : api.ROOT_CONTEXT
    return spanOf(
      inner.startSpan(
        name,
        {
          kind: kinds[kind],
          ...(facts ? { attributes: facts } : {}),
          ...(linked ? { links: [{ context: linked }] } : {}),
        },
        context,
      ),
    )
  }

  return {
    tracer: {
      start,
      current() {
        const span = running.getStore()
        return span ? traceparentOf(span) : null
      },
    },
    current: () => running.getStore() ?? null,
    async close() {
      const over = new Promise<void>((resolve) => setTimeout(resolve, closeMilliseconds).unref())
      await Promise.race([provider.shutdown().catch(() => undefined), over])
    },
  }
}

/** Loaded only where traces are wanted. */
async function loadPackages() {
  const [api, sdk, resources, otlp] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ])
  return { api, sdk, resources, otlp }
}

/** `00-<trace>-<span>-<flags>` (W3C Trace Context §3.2); null for what is none. */
function contextOf(traceparent: string): SpanContext | null {
  const found = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/.exec(
    traceparent,
  )
  const [, traceId, spanId, flags] = found ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true }
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${(traceFlags & 1).toString(16).padStart(2, '0')}`
}

/** `key=value,key=value`, percent-encoded; what is none is left out. */
function attributesOf(env: Environment): Record<string, string> {
  const pairs = (env['OTEL_RESOURCE_ATTRIBUTES'] ?? '').split(',').map((pair) => pair.split('='))
  const decoded = pairs.flatMap(([key, value]) => {
    if (!key || value === undefined) return []
    try {
      return [[key.trim(), decodeURIComponent(value.trim())] as const]
    } catch {
      return []
    }
  })
  // The variable made for the name comes first (OpenTelemetry, "General SDK configuration").
  return Object.fromEntries(
    decoded.filter(([key]) => key !== 'service.name' || !env['OTEL_SERVICE_NAME']),
  )
}

function samplerOf(
  env: Environment,
  sdk: Packages['sdk'],
  onProblem: TracingOptions['onProblem'],
): Sampler {
  const name = env['OTEL_TRACES_SAMPLER'] || 'parentbased_always_on'
  const given = env['OTEL_TRACES_SAMPLER_ARG']
  const asked = given ? Number(given) : 1
  const ratio = asked >= 0 && asked <= 1 ? asked : 1
  const root: Readonly<Record<string, () => Sampler>> = {
    always_on: () => new sdk.AlwaysOnSampler(),
    always_off: () => new sdk.AlwaysOffSampler(),
    traceidratio: () => new sdk.TraceIdRatioBasedSampler(ratio),
  }
  const make = root[name.replace(/^parentbased_/, '')]
  if (make === undefined) {
    onProblem({ sampler: name }, 'OTEL_TRACES_SAMPLER is none that is known; every trace is kept')
    return new sdk.ParentBasedSampler({ root: new sdk.AlwaysOnSampler() })
  }
  return name.startsWith('parentbased_') ? new sdk.ParentBasedSampler({ root: make() }) : make()
}

/** `ExportResultCode.SUCCESS`, of a package that nothing else is needed from. */
const exported = 0

/** Tells once when the collector stops taking spans; they are lost, and nothing else is. */
function telling(exporter: SpanExporter, onProblem: TracingOptions['onProblem']): SpanExporter {
  let failing = false
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const code: number = result.code
        const fails = code !== exported
        if (fails && !failing) {
          onProblem(
            { error: result.error },
            'the collector of traces takes none; spans are dropped',
          )
        }
        failing = fails
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush ? { forceFlush: () => exporter.forceFlush!() } : {}),
  }
}
