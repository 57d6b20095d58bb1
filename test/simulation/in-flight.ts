/** Calls that have left for a real socket; no turn of the event loop tells when they come back. */
const calls = new Set<Promise<unknown>>()

/** Holds the simulation's time back until the call has been answered. */
export function awaited<T>(call: Promise<T>): Promise<T> {
  const done: Promise<unknown> = call.then(
    () => calls.delete(done),
    () => calls.delete(done),
  )
  calls.add(done)
  return call
}

/** @returns whether there was anything to wait for: what it set off may have set off more */
export async function answered(): Promise<boolean> {
  if (calls.size === 0) return false
  await Promise.all(calls)
  return true
}
