/** An error the real service would answer, by the name of its shape (without `Exception`). */
export class AwsError extends Error {
  override readonly name = 'AwsError'
  /** `NoSuchEntity`, `LimitExceeded`, `AccessDenied` … */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** One page of a listing with `Marker`/`MaxItems`, as IAM pages: opaque marker, 100 by default. */
export function page<T>(
  items: readonly T[],
  request: { readonly Marker?: string | undefined; readonly MaxItems?: number | undefined },
  pageSizeMax: number,
): { readonly items: T[]; readonly IsTruncated: boolean; readonly Marker?: string } {
  const wanted = request.MaxItems ?? 100
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 1_000) {
    throw new AwsError('ValidationError', 'MaxItems must be between 1 and 1000.')
  }
  const start = request.Marker === undefined ? 0 : offsetOf(request.Marker)
  // IAM may answer with fewer than MaxItems although there is more: only IsTruncated tells.
  const end = start + Math.min(wanted, pageSizeMax)
  const found = items.slice(start, end)
  if (end >= items.length) return { items: found, IsTruncated: false }
  return {
    items: found,
    IsTruncated: true,
    Marker: Buffer.from(`after:${end}`).toString('base64url'),
  }
}

function offsetOf(marker: string): number {
  const m = /^after:(\d+)$/.exec(Buffer.from(marker, 'base64url').toString())
  if (!m) throw new AwsError('ValidationError', 'Invalid Marker.')
  return Number(m[1])
}
