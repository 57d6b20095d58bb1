/**
 * Runs something and measures for how long, at most, the event loop of this process stood still.
 * The histogram of `perf_hooks` misses what happens between two of its own ticks; a chain of timers
 * of a millisecond each does not.
 */
export async function loopDelayOf<T>(
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly blockedMs: number }> {
  let blockedMs = 0
  let last = performance.now()
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const now = performance.now()
    blockedMs = Math.max(blockedMs, now - last - 1)
    last = now
    timer = setTimeout(tick, 1)
  }
  tick()
  try {
    const result = await run()
    await new Promise((resolve) => setTimeout(resolve, 5))
    return { result, blockedMs }
  } finally {
    clearTimeout(timer)
  }
}
