import type { Clock, Instant } from '../../domain/time.ts'

/** Somebody in the directory, as its own administrators see them. */
export interface WorldPerson {
  readonly id: string
  login: string
  email: string | null
  employeeNumber: string | null
  /** Of Okta; the Graph face shows DEPROVISIONED and SUSPENDED as `accountEnabled: false`. */
  status: string
  managerId: string | null
  changedAt: Instant
  /** In the recycle bin of Entra ID; Okta forgets at once. */
  deletedAt: Instant | null
}

/** What goes wrong next; each is used up by the request it hits, but `truncateAfter`. */
export interface WorldFaults {
  /** So many requests are answered with this status, from the one after `after` on. */
  fail: { status: number; times: number; retryAfter?: number; after?: number } | null
  /** Pages after so many are lost, with no word that there were any. */
  truncateAfter: number | null
  /** The place in the list is forgotten so many times. */
  expireCursor: number
}

/** People of one directory; both faces show the same ones. */
export class DirectoryWorld {
  readonly clock: Clock
  readonly people = new Map<string, WorldPerson>()
  readonly faults: WorldFaults = { fail: null, truncateAfter: null, expireCursor: 0 }
  /** Requests a minute before 429; Okta's for `/api/v1/users` is 600 in most organisations. */
  requestsPerMinute = Infinity
  /** At most so many a page, whatever a client asks for. */
  pageMax = 200
  /** What was asked, for the tests. */
  readonly asked: string[] = []
  readonly #window = { from: 0, count: 0 }
  #made = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  add(login: string, more: Partial<Omit<WorldPerson, 'id' | 'login'>> = {}): WorldPerson {
    const number = (this.#made += 1)
    const person: WorldPerson = {
      id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
      login,
      email: login.includes('@') ? login : null,
      employeeNumber: null,
      status: 'ACTIVE',
      managerId: null,
      changedAt: this.clock.now(),
      deletedAt: null,
      ...more,
    }
    this.people.set(person.id, person)
    return person
  }

  deactivate(id: string): void {
    this.change(id, { status: 'DEPROVISIONED' })
  }

  remove(id: string): void {
    this.change(id, { status: 'DEPROVISIONED', deletedAt: this.clock.now() })
  }

  change(id: string, to: Partial<Omit<WorldPerson, 'id'>>): void {
    const person = this.people.get(id)
    if (!person) throw new Error(`nobody has the id ${id}`)
    Object.assign(person, to, { changedAt: this.clock.now() })
  }

  /** In the order of their ids, which is the order in which they were added. */
  all(): readonly WorldPerson[] {
    return [...this.people.values()]
  }

  /** @returns the status that a planned fault or the rate limit answers with; null = go on */
  hinder(): { readonly status: number; readonly headers: Record<string, string> } | null {
    const { fail } = this.faults
    if (fail?.after) fail.after--
    else if (fail !== null && fail.times > 0) {
      fail.times--
      const after: Record<string, string> =
        fail.retryAfter === undefined ? {} : { 'retry-after': String(fail.retryAfter) }
      return { status: fail.status, headers: after }
    }
    const now = Date.parse(this.clock.now())
    if (now - this.#window.from >= 60_000) Object.assign(this.#window, { from: now, count: 0 })
    this.#window.count++
    if (this.#window.count <= this.requestsPerMinute) return null
    const reset = Math.ceil((this.#window.from + 60_000) / 1_000)
    return {
      status: 429,
      headers: {
        'x-rate-limit-limit': String(this.requestsPerMinute),
        'x-rate-limit-remaining': '0',
        'x-rate-limit-reset': String(reset),
      },
    }
  }

  forgetsPlace(): boolean {
    if (this.faults.expireCursor === 0) return false
    this.faults.expireCursor--
    return true
  }
}
