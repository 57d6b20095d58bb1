import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Where process ids mean what they mean here: the host's name, and on Linux its present run and the
 * namespace of processes. Two containers of one name share no process ids, and neither may take the
 * other's work for that of a dead process.
 */
export function machineName(): string {
  try {
    const run = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const space = readlinkSync('/proc/self/ns/pid')
    const mark = createHash('sha256').update(`${run} ${space}`).digest('hex').slice(0, 8)
    return `${hostname()}.${mark}`
  } catch {
    return hostname()
  }
}

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
