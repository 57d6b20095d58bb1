import { AppError } from '../../src/domain/errors.ts'
import type { CredentialEntry, PersonWrite } from '../../src/domain/want.ts'
import { Installation } from './installation.ts'
import { Laws } from './laws.ts'
import { warmedUp } from './scheduler.ts'
import { Traffic } from './traffic.ts'
import { Violation } from './violation.ts'
import type { Trouble } from './wire.ts'
import { isPossible, troubles } from './wire.ts'

/** Faults that strike the `at`-th provider call of a life that is always the same, and those after it. */
export interface Plan {
  readonly name: string
  readonly at: number
  readonly faults: readonly Trouble[]
}

export interface DirectedOutcome {
  readonly name: string
  readonly violation: string | null
  readonly acts: number
  readonly calls: number
  readonly events: number
  readonly deaths: number
  readonly story: readonly string[]
}

/** A provider call of the undisturbed life: where in the journal it is made, and what it asks. */
export interface Place {
  readonly at: number
  readonly step: string
  readonly operation: string
}

const minute = 60
const hour = 3_600
const day = 86_400
const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
/** It re-reads its secrets, so that rotations end. */
const reader = { consumers: [{ name: 'app', cacheTtl: 'PT5M' }] }

const entries: readonly CredentialEntry[] = [
  {
    provider: 'aws-prod',
    kind: 'access-key',
    scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
    deliverTo: { sink: 'aws-secrets', path: 'directed-key' },
  },
  {
    provider: 'github-acme',
    kind: 'deploy-key',
    scopes: ['repo:acme/website'],
    deliverTo: { sink: 'aws-secrets', path: 'directed-pem' },
  },
]

/** Issue, rotate, leave, hold, delete: every step that calls a provider, one at a time. */
export async function directed(plan: Plan): Promise<DirectedOutcome> {
  return (await live(plan)).outcome
}

let places: Promise<readonly Place[]> | null = null

/** The calls of a life in which nothing goes wrong, in order. */
export function placesOf(): Promise<readonly Place[]> {
  places ??= (async () => {
    // Whatever is loaded on first use is loaded by the first.
    await live(null)
    warmedUp()
    const { outcome, calls } = await live(null)
    if (outcome.violation !== null) throw new Error(outcome.violation)
    return calls
  })()
  return places
}

/** Each fault at each kind of call of each step, once. */
export async function singleFaults(): Promise<readonly Plan[]> {
  const distinct = firstOf(await placesOf(), (p) => `${p.step} ${p.operation}`)
  return distinct.flatMap(({ at, step, operation }) =>
    troubles
      .filter((fault) => isPossible(fault, operation))
      .map((fault) => ({ name: `${fault} at ${step}, ${operation}`, at, faults: [fault] })),
  )
}

/** Each two faults, one right after the other, in each step; the calls of a step take turns. */
export async function pairsOfFaults(): Promise<readonly Plan[]> {
  const all = await placesOf()
  const plans: Plan[] = []
  for (const step of new Set(all.map((p) => p.step))) {
    const own = firstOf(
      all.filter((p) => p.step === step),
      (p) => p.operation,
    )
    for (const first of troubles) {
      const struck = own.filter((p) => isPossible(first, p.operation))
      if (struck.length === 0) continue
      for (const second of troubles) {
        const { at, operation } = struck[plans.length % struck.length]!
        const name = `${first}, then ${second} at ${step}, ${operation}`
        plans.push({ name, at, faults: [first, second] })
      }
    }
  }
  return plans
}

function firstOf(all: readonly Place[], key: (place: Place) => string): readonly Place[] {
  return [...new Map([...all].reverse().map((p) => [key(p), p])).values()].reverse()
}

interface Told {
  readonly outcome: DirectedOutcome
  readonly calls: readonly Place[]
}

async function live(plan: Plan | null): Promise<Told> {
  const installation = await Installation.open(1, { lagSeconds: 5 })
  const calls: Place[] = []
  let made = 0
  let noted = 0
  installation.fate = ({ operation }) => {
    // One thing happens at a time, so the next step to end is the one that calls.
    const steps = installation.log.length
    for (; noted < calls.length; noted++) {
      if (calls[noted]!.step !== `${steps}`) calls[noted] = named(installation, calls[noted]!)
      else break
    }
    calls.push({ at: made, step: `${steps}`, operation: operation.replaceAll(/\d{2,}/g, '…') })
    made += 1
    return plan?.faults[made - 1 - plan.at] ?? null
  }
  const script = new Script(installation)
  let violation: string | null = null
  try {
    await script.play()
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violation = `${installation.scheduler.now()}: ${error.message}`
  } finally {
    await installation.close()
  }
  const outcome: DirectedOutcome = {
    name: plan?.name ?? 'no fault',
    violation,
    acts: script.traffic.log.length,
    calls: installation.witness.calls,
    events: installation.scheduler.events,
    deaths: 0,
    story: [...script.traffic.log, ...installation.log].sort(),
  }
  return { outcome, calls: calls.map((c) => (/^\d+$/.test(c.step) ? named(installation, c) : c)) }
}

/** A call remembers how many steps had ended; the line of the next one names its own. */
function named({ log }: Installation, place: Place): Place {
  const [, , kind, , step] = log[Number(place.step)]!.split(' ')
  return { ...place, step: `${kind}/${step}` }
}

class Script {
  readonly traffic: Traffic
  readonly #laws: Laws
  readonly #installation: Installation

  constructor(installation: Installation) {
    this.#installation = installation
    this.#laws = new Laws(installation)
    this.traffic = new Traffic(installation, this.#laws)
  }

  async play(): Promise<void> {
    const { admin } = this.#installation
    await this.#installation.start('http', { works: false })
    await this.#installation.start('worker', { works: true })
    const { engine } = this.#installation.node('http')
    const write: PersonWrite = {
      type: 'person',
      userName: 'owner',
      externalId: null,
      active: true,
      attributes: { schemas: [userSchema] },
    }
    const { person } = (await this.#ask(engine.createPerson(admin, write)))!
    const { account } = (await this.#ask(
      engine.requestAccount(admin, {
        type: 'account',
        userName: 'svc-directed',
        externalId: null,
        active: undefined,
        kind: 'serviceAccount',
        owner: { type: 'User', id: person.id },
        backupOwners: undefined,
        purpose: 'simulation',
        environment: undefined,
        labels: undefined,
        expiresAt: undefined,
        protected: undefined,
        credentials: [entries[0]!],
        attributes: { schemas: [userSchema, nhiSchema], [nhiSchema]: reader },
      }),
    ))!
    await this.#rest()
    const second = await this.#ask(
      engine.requestCredential(admin, {
        serviceAccount: account.id,
        displayName: null,
        readers: [],
        rotateEvery: undefined,
        overlap: undefined,
        expiresAt: undefined,
        deliverTo: undefined,
        ...entries[1]!,
      }),
    )
    await this.#rest()
    const { store } = this.#installation
    for (const { id } of await store.read.credentialsOf(account.tenant, account.id)) {
      await this.#ask(engine.rotateCredential(admin, id))
      await this.#rest()
    }
    // Past overlap, then past soak.
    for (let n = 0; n < 2; n++) {
      await this.#pass(7 * day + hour)
      await this.#rest()
    }
    if (second !== null) {
      await this.#ask(engine.revokeCredential(admin, second.credential.id))
      await this.#rest()
    }
    const current = await this.#until(engine.person(admin, person.id))
    await this.#ask(engine.updatePerson(admin, current, { ...write, active: false }))
    await this.#rest()
    await this.#laws.nothingLives()
    await this.#pass(91 * day)
    await this.#ask(engine.runSweep(admin, 'expiry'))
    await this.#rest()
    await this.#laws.nothingLives()
  }

  /**
   * Answers come from events of the scheduler, which somebody has to run. Null when it was refused:
   * what a fault made fail for good can neither be rotated nor added to.
   */
  async #ask<T>(answer: Promise<T>): Promise<T | null> {
    const settled = answer.catch((error: unknown) => {
      if (error instanceof AppError && error.status < 500) return null
      throw error
    })
    return this.#until(settled)
  }

  async #until<T>(settled: Promise<T>): Promise<T> {
    let isDone = false
    const done = settled.finally(() => (isDone = true))
    for (let n = 0; n < 60; n++) {
      await this.#installation.scheduler.run(1)
      if (isDone) return done
    }
    throw new Violation('an answer took longer than a minute')
  }

  async #pass(seconds: number): Promise<void> {
    const { scheduler, witness } = this.#installation
    await scheduler.run(seconds, async () => {
      if (witness.wasTouched()) await this.#laws.always()
    })
    if (this.#installation.failure !== null) throw this.#installation.failure
    await this.#laws.always()
  }

  /** Time enough for what was begun, with an operator who has what is stuck tried again. */
  async #rest(): Promise<void> {
    for (let n = 0; n < 3; n++) {
      await this.#pass(10 * minute)
      const stuck = await this.#until(this.traffic.operatorRetries())
      if (stuck === 0 && n > 0) break
    }
    await this.#pass(minute)
    await this.#laws.atRest()
  }
}
