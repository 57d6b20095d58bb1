/** A step that did not go as it must; ends the demo with `FAILED at N`. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure'
  /** The service's id of the request that failed, as its log names it. */
  readonly request: string | null

  constructor(message: string, request: string | null = null, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.request = request
  }
}

/** @throws DemoFailure unless what the story claims is what was measured */
export function must(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new DemoFailure(otherwise)
}
