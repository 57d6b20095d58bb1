import { consumersOf } from '../../domain/consumer.ts'
import { addSeconds } from '../../domain/time.ts'
import { signingSecrets } from '../hooks.ts'
import type { Step } from './step.ts'
import { audit, memoOf } from './step.ts'

const triesMax = 5
/** After the first try: half a minute, two minutes, eight, half an hour. */
const backoff = { firstSeconds: 30, factor: 4 }

/** Tells one consumer that another secret is served; given up after some tries, for it re-reads or is waited for. */
export const callHook: Step = async (ctx) => {
  const { life, operation } = ctx
  const { tenant } = operation
  const credential = await life.store.read.credential(tenant, memoOf<string>(ctx, 'credential')!)
  const account = credential && (await life.store.read.account(tenant, credential.account))
  const name = memoOf<string>(ctx, 'consumer')!
  const generation = memoOf<number>(ctx, 'generation')!
  const url = account && consumersOf(account).find((c) => c.name === name)?.reloadHook
  const isServed = credential?.status === 'active' && credential.generation === generation
  if (!life.hooks || !url || !isServed) return { go: 'done' }

  const answer = await life.hooks.call({
    tenant,
    id: operation.id,
    url,
    body: JSON.stringify({
      type: 'credential.rotated',
      account: account.id,
      credential: credential.id,
      generation,
      secretRef: credential.secretRef,
    }),
    secrets: await signingSecrets(life.store, life.hooks.keys, tenant),
  })
  const target = { type: 'credential', id: credential.id }
  const tries = (memoOf<number>(ctx, 'tries') ?? 0) + 1
  if (answer.outcome === 'delivered') {
    const facts = { consumer: name, generation, tries }
    return { go: 'done', changes: [audit(ctx, 'consumer.told', target, facts)] }
  }
  const message = `the reload hook of consumer "${name}" was not called: ${answer.reason}`
  if (answer.outcome === 'failed' && tries < triesMax) {
    const wait = backoff.firstSeconds * backoff.factor ** (tries - 1)
    return {
      go: 'wait',
      until: addSeconds(life.clock.now(), wait),
      memo: { tries },
      failure: { code: 'hookFailed', message: `${message}; it is tried again` },
    }
  }
  const facts = { consumer: name, generation, tries, reason: answer.reason }
  const failure =
    answer.outcome === 'refused'
      ? { code: 'hookRefused', message }
      : { code: 'hookFailed', message: `${message}; it was tried ${tries} times` }
  return { go: 'fail', failure, changes: [audit(ctx, 'consumer.notTold', target, facts)] }
}
