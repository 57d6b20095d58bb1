/**
 * Runs something and tells the longest time, in milliseconds of this thread's own work, in which
 * nothing else had a turn: what a request that comes meanwhile has to wait at most. What other
 * processes on the same core do is not in it.
 */
export async function longestHold<T>(
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly holdMs: number }> {
  let holdMs = 0
  let last = { worked: worked(), at: performance.now() }
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const now = { worked: worked(), at: performance.now() }
    // The kernel counts in ticks of 4 ms, and puts one slice's work on the next one's account: nobody
    // can have worked for longer than time has passed.
    holdMs = Math.max(holdMs, Math.min(now.worked - last.worked, now.at - last.at))
    last = now
    timer = setTimeout(tick, 1)
  }
  tick()
  try {
    const result = await run()
    await new Promise((resolve) => setTimeout(resolve, 5))
    return { result, holdMs }
  } finally {
    clearTimeout(timer)
  }
}

function worked(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}
