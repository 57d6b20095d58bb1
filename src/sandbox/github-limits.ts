import type { Clock } from '../domain/time.ts'
import type { GithubResponse } from './github-routes.ts'

/**
 * GitHub's secondary limits (docs.github.com, "Rate limits for the REST API"); absent ones refuse
 * nothing. They are counted by who asks: an installation, an App, or nobody.
 */
export interface GithubLimitSettings {
  /** Requests open at once. */
  readonly concurrent?: number
  /** A GET costs 1 point, whatever writes 5. */
  readonly pointsPerMinute?: number
  /** What makes content: POST and PUT, but not the making of tokens. */
  readonly contentPerMinute?: number
  readonly contentPerHour?: number
  /** GitHub answers with either. Default 403. */
  readonly status?: 403 | 429
  /** Without it clients have to wait a minute at least. Default true. */
  readonly tellsRetryAfter?: boolean
}

export const realisticGithubLimits: GithubLimitSettings = {
  concurrent: 100,
  pointsPerMinute: 900,
  contentPerMinute: 80,
  contentPerHour: 500,
}

interface Spent {
  readonly at: number
  readonly cost: number
}

interface Who {
  open: number
  points: Spent[]
  content: Spent[]
}

const minuteMs = 60_000
const hourMs = 3_600_000

export class GithubLimits {
  readonly #clock: Clock
  #settings: GithubLimitSettings
  readonly #who = new Map<string, Who>()

  constructor(clock: Clock, settings: GithubLimitSettings) {
    this.#clock = clock
    this.#settings = settings
  }

  /** Replaces all limits; what was counted is forgotten, but for what is open. */
  set(settings: GithubLimitSettings): void {
    this.#settings = settings
    for (const who of this.#who.values()) {
      who.points = []
      who.content = []
    }
  }

  /**
   * Counts a request that has arrived.
   * @returns the refusal, or null; either way `leave` has to be called when it is answered
   */
  enter(caller: string, method: string, operation: string): GithubResponse | null {
    const settings = this.#settings
    const who = this.#who.get(caller) ?? { open: 0, points: [], content: [] }
    this.#who.set(caller, who)
    who.open += 1
    const now = Date.parse(this.#clock.now())
    who.points = who.points.filter((s) => s.at > now - minuteMs)
    who.content = who.content.filter((s) => s.at > now - hourMs)
    const isContent = /^(POST|PUT)$/.test(method) && !operation.endsWith('/access_tokens')
    const cost = method === 'GET' || method === 'HEAD' ? 1 : 5
    const minute = who.content.filter((s) => s.at > now - minuteMs)
    const waits = [
      who.open > (settings.concurrent ?? Infinity) ? 1 : 0,
      sum(who.points) + cost > (settings.pointsPerMinute ?? Infinity)
        ? until(who.points, minuteMs, now)
        : 0,
      isContent && minute.length >= (settings.contentPerMinute ?? Infinity)
        ? until(minute, minuteMs, now)
        : 0,
      isContent && who.content.length >= (settings.contentPerHour ?? Infinity)
        ? until(who.content, hourMs, now)
        : 0,
    ]
    const wait = Math.max(...waits)
    if (wait > 0) return this.#refusal(wait)
    who.points.push({ at: now, cost })
    if (isContent) who.content.push({ at: now, cost: 1 })
    return null
  }

  leave(caller: string): void {
    const who = this.#who.get(caller)
    if (who) who.open -= 1
  }

  #refusal(wait: number): GithubResponse {
    const { status = 403, tellsRetryAfter = true } = this.#settings
    return {
      status,
      headers: tellsRetryAfter ? { 'retry-after': String(wait) } : {},
      body: {
        message:
          'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
        documentation_url:
          'https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits',
        status: String(status),
      },
    }
  }
}

function sum(spent: readonly Spent[]): number {
  return spent.reduce((total, { cost }) => total + cost, 0)
}

/** Seconds until the oldest of them leaves the window. */
function until(spent: readonly Spent[], window: number, now: number): number {
  return Math.max(1, Math.ceil(((spent[0]?.at ?? now) + window - now) / 1_000))
}
