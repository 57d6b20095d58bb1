/**
 * Runs something and measures the longest stretch, in milliseconds of this thread's own work, in
 * which nothing else had a turn: what others on the machine do does not count, for a test on a busy
 * one would fail for nothing. (The histogram of `perf_hooks` counts that, and misses what happens
 * between two of its own ticks.)
 */
export async function loopDelayOf<T>(
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly blockedMs: number }> {
  let blockedMs = 0
  let last = workedMs()
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const now = workedMs()
    blockedMs = Math.max(blockedMs, now - last)
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

function workedMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}
