import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Watches this process from now on. The delay is measured between two askings, so that one bad
 * minute does not colour the rest of the day.
 */
export function watchProcess() {
  // 20 ms cost next to nothing; the histogram holds what lies beyond a timer's own 20 ms.
  const resolution = 20
  const histogram = monitorEventLoopDelay({ resolution })
  histogram.enable()
  return {
    facts() {
      const delay = histogram.count === 0 ? 0 : histogram.percentile(99) / 1e9 - resolution / 1e3
      histogram.reset()
      return {
        eventLoopDelayP99Seconds: Math.max(0, delay),
        residentBytes: process.memoryUsage.rss(),
        openHandles: process.getActiveResourcesInfo().length,
        openFiles: countOpenFiles(),
      }
    },
    stop(): void {
      histogram.disable()
    },
  }
}

function countOpenFiles(): number | null {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return null
  }
}
