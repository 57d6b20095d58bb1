import { ProviderError, type ProviderErrorKind } from '../../src/provider/contract.ts'
import { seconds, type Clock, type Seconds } from '../../src/domain/time.ts'

/** Permissions of an App by GitHub's names for them. */
export type Permissions = Readonly<Record<string, 'read' | 'write' | 'admin'>>

/** One request: what it costs, and when GitHub fails what is known about its effect. */
export interface Attempt {
  /** `POST /repos/acme/web/keys`, for messages. */
  readonly request: string
  /** A read that failed changed nothing; a write that got no clear answer may have. */
  readonly writes: boolean
  /** It makes something new, which GitHub counts apart. */
  readonly creates?: true
  /** It ends a credential: never held back by the budget. */
  readonly ends?: true
  /** What the management token for it must have; nothing = it reads what every token may. */
  readonly needs?: Permissions
}

/** An answer of GitHub's, reduced to what is safe to keep: never headers we sent. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number | undefined>>
  readonly message: string
}

interface Row {
  readonly when: (answer: Answer, attempt: Attempt) => boolean
  readonly kind: ProviderErrorKind
  readonly sentence: (answer: Answer, attempt: Attempt) => string
}

const header = (answer: Answer, name: string): string | null => {
  const value = answer.headers[name]
  return value === undefined ? null : String(value)
}

/** Words of a refusal that waiting does not mend, whatever the headers beside them say. */
const denial =
  /not accessible by (integration|personal access token)|suspended|archived|must have admin|must be an? (owner|admin)|blocked/i
const throttling = /rate limit|abuse detection|too many requests/i

// A 403 may mean "slow down" or "never": telling them apart by status alone once made a client
// retry a real denial for ever, and another give up on a burst limit. The last request of an hour
// that is denied has `x-ratelimit-remaining: 0` too, so words go before headers.
const isThrottle = (a: Answer): boolean =>
  a.status === 429 ||
  (a.status === 403 &&
    (throttling.test(a.message) ||
      (!denial.test(a.message) &&
        (header(a, 'retry-after') !== null || header(a, 'x-ratelimit-remaining') === '0'))))

/** Only until it is resumed: its tokens work again then. */
export function isSuspension(a: Answer): boolean {
  return a.status === 403 && /suspended/i.test(a.message)
}

const needed = (a: Answer): string => {
  const permissions = header(a, 'x-accepted-github-permissions')
  return permissions
    ? `the App needs ${permissions}; grant it in the App's settings and accept it in the organisation`
    : "check the App's permissions and the repositories it is installed on"
}

/** Read from top to bottom; the first row that fits decides. */
const table: readonly Row[] = [
  {
    when: isThrottle,
    kind: 'throttled',
    sentence: () => 'GitHub asks to slow down',
  },
  {
    when: (a) => a.status === 401,
    kind: 'denied',
    sentence: (a) =>
      `GitHub refused the App's credentials (${a.message}); check appId, privateKeyFile and the clock`,
  },
  {
    when: (a) => a.status === 404 && /^integration not found/i.test(a.message),
    kind: 'denied',
    sentence: () =>
      'GitHub knows no such App, or not this installation of it; check appId and installationId',
  },
  {
    when: (a, { request }) => a.status === 404 && /\/app\/installations\/\d+/.test(request),
    kind: 'denied',
    sentence: () =>
      'GitHub does not show it to this App: it was uninstalled, or installationId is of another App',
  },
  {
    when: isSuspension,
    kind: 'denied',
    sentence: () => 'the installation is suspended; unsuspend it in the organisation settings',
  },
  {
    when: (a) => a.status === 403 && /archived/i.test(a.message),
    kind: 'denied',
    sentence: () => 'the repository is archived and read-only; unarchive it first',
  },
  {
    when: (a) => a.status === 403 && /blocked/i.test(a.message),
    kind: 'denied',
    sentence: (a) => `the repository is blocked (${a.message}); its owner has to ask GitHub`,
  },
  {
    when: (a) => a.status === 403,
    kind: 'denied',
    sentence: (a) => `GitHub refused it (${a.message}): ${needed(a)}`,
  },
  // A private resource out of the App's reach is 404 as well, so it proves no absence.
  {
    when: (a) => a.status === 404 || a.status === 410 || a.status === 451,
    kind: 'notFound',
    sentence: (a) => `GitHub does not show it to this App: it does not exist, or ${needed(a)}`,
  },
  {
    when: (a) => a.status === 422 && /already in use/i.test(a.message),
    kind: 'conflict',
    sentence: () => 'this public key is already registered somewhere on GitHub',
  },
  // GitHub's words in public reports: "Deploy keys are disabled for this repository".
  {
    when: (a) => a.status === 422 && /deploy keys? .*(disabled|not allowed)/i.test(a.message),
    kind: 'denied',
    sentence: () => 'deploy keys are switched off by the organisation; allow them in its settings',
  },
  {
    when: (a) => a.status === 422 && /not (granted|accessible)|does not exist/i.test(a.message),
    kind: 'invalid',
    sentence: (a) => `the installation does not cover what is asked (${a.message})`,
  },
  {
    when: (a) => a.status === 409,
    kind: 'conflict',
    sentence: (a) => `GitHub reports a conflict (${a.message})`,
  },
  {
    when: (a) => a.status >= 500,
    kind: 'unavailable',
    sentence: (a) => `GitHub failed with ${a.status} (${a.message})`,
  },
  // Redirects are followed; one that is left leads nowhere, or to a page for people.
  {
    when: (a) => a.status >= 300 && a.status < 400,
    kind: 'invalid',
    sentence: (a) => `GitHub sends elsewhere with ${a.status}; check baseUrl and proxies`,
  },
  {
    when: () => true,
    kind: 'invalid',
    sentence: (a) => `GitHub answered ${a.status} (${a.message})`,
  },
]

/** Translates an answer with a status of 400 or more, or an unexpected one. */
export function fromAnswer(answer: Answer, attempt: Attempt, clock: Clock): ProviderError {
  const row = table.find((r) => r.when(answer, attempt))!
  return new ProviderError(row.kind, `${attempt.request}: ${row.sentence(answer, attempt)}.`, {
    // Behind a 5xx the request may have been carried out.
    outcome: row.kind === 'unavailable' && attempt.writes ? 'unknown' : 'notApplied',
    retryAfter: row.kind === 'throttled' ? retryAfter(answer, clock) : null,
  })
}

/** Never reached GitHub: nothing can have happened. */
const unsent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])

/** Translates a request without an answer: refused, cut, timed out, given up. */
export function fromSilence(error: unknown, attempt: Attempt): ProviderError {
  const code = networkCode(error)
  const remedy = unsent.has(code) ? '; check baseUrl, the network and proxies' : ''
  const words = `${attempt.request}: no answer from GitHub (${code})${remedy}.`
  return new ProviderError('unavailable', words, {
    outcome: attempt.writes && !unsent.has(code) ? 'unknown' : 'notApplied',
  })
}

/** The innermost error code along the chain of causes; `fetch` buries it two levels deep. */
function networkCode(error: unknown): string {
  let code = 'connection lost'
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    if (e.name === 'TimeoutError') code = 'timeout'
    if (e.name === 'AbortError') code = 'given up'
    if ('code' in e && typeof e.code === 'string') code = e.code
  }
  return code
}

/** GitHub renews its longest window every hour; what asks for more is no figure of GitHub's. */
const waitMax = 3_600
/** "If neither header is there, wait at least one minute" (docs.github.com, rate limits). */
const waitWithoutHeaders = 60

/** GitHub: `retry-after`, else wait for `x-ratelimit-reset` by GitHub's own clock, else a minute. */
function retryAfter(answer: Answer, clock: Clock): Seconds {
  const after = Number(header(answer, 'retry-after') ?? Number.NaN)
  if (Number.isFinite(after)) return seconds(Math.min(waitMax, Math.max(1, Math.ceil(after))))
  const reset = Number(header(answer, 'x-ratelimit-reset') ?? Number.NaN)
  if (header(answer, 'x-ratelimit-remaining') === '0' && Number.isFinite(reset)) {
    const date = Date.parse(header(answer, 'date') ?? '')
    const now = (Number.isNaN(date) ? Date.parse(clock.now()) : date) / 1_000
    return seconds(Math.min(waitMax, Math.max(1, Math.ceil(reset - now))))
  }
  return seconds(waitWithoutHeaders)
}
