/** What a span says of itself: words and numbers that are neither secret nor personal. */
export type SpanFacts = Readonly<Record<string, string | number | boolean>>

export interface SpanStart {
  /** Of a small set, e.g. `GET /scim/v2/Users/:id` or `step prove-dead`. */
  readonly name: string
  readonly kind: 'server' | 'client' | 'internal'
  readonly facts?: SpanFacts
  /** A `traceparent` (W3C Trace Context §3.2) to continue; absent: the span that is running. */
  readonly parent?: string
  /** A `traceparent` of what asked for this, in a trace of its own. */
  readonly link?: string
}

export interface Span {
  /** Runs `work`, and all that it starts, inside the span. */
  run<T>(work: () => T): T
  /** @param failure a stable word when it did not go well, never a message */
  end(facts?: SpanFacts, failure?: string): void
}

/** Where traces go; whoever holds one may lose spans, but nothing else. */
export interface Tracer {
  start(span: SpanStart): Span
  /** The running span as a `traceparent`; null outside of any. */
  current(): string | null
}

/** Runs `work` in a span of its own, or just runs it where nobody traces. */
export async function traced<T>(
  tracer: Tracer | null | undefined,
  start: SpanStart,
  work: () => Promise<T>,
): Promise<T> {
  if (tracer === null || tracer === undefined) return work()
  const span = tracer.start(start)
  try {
    const result = await span.run(work)
    span.end()
    return result
  } catch (error) {
    span.end({}, failureWord(error))
    throw error
  }
}

/** What may be told of an error outside: its kind, code or class. A message may quote anything. */
export function failureWord(error: unknown): string {
  const { kind, code, name } = (error ?? {}) as Readonly<Record<string, unknown>>
  return [kind, code, name].find((word) => typeof word === 'string') ?? 'error'
}
