import type { Body } from './api.ts'
import type { Account } from './company.ts'
import { patchUrn } from './company.ts'
import type { Consumer } from './consumer.ts'
import { rereadMilliseconds, startConsumer } from './consumer.ts'
import { must } from './failure.ts'
import type { ForeignKey } from './foreign.ts'
import { makeForeignKey } from './foreign.ts'
import { hold, iamUserOf } from './judge.ts'
import { after, seconds } from './show.ts'
import type { Stage } from './stage.ts'

const overlapSeconds = 2
const callsMin = 2_000
/** Leaves the processors to the service, which is what these chapters watch. */
export const consumerPause = 3

/** Shorter than the policy's seven days, so that nobody has to watch for a week. */
export async function shortenOverlap(stage: Stage, account: Account): Promise<void> {
  await stage.requester.call(200, 'PATCH', `/scim/v2/Credentials/${account.credential}`, {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', path: 'overlap', value: `PT${overlapSeconds}S` }],
  })
}

function rotate(stage: Stage, account: Account): Promise<Body> {
  return stage.requester.call(202, 'POST', `/api/v1/credentials/${account.credential}/rotate`)
}

/** The consumer says that it has the new key: without that, or a use of it that AWS tells of, the old one stays. */
async function reportSeen(stage: Stage, { id, credential }: Account): Promise<void> {
  const { requester } = stage
  const { generation } = await requester.call(200, 'GET', `/api/v1/credentials/${credential}`)
  const route = `/api/v1/consumers/${encodeURIComponent(`${id}:app`)}/seen`
  await requester.call(200, 'POST', route, { credential, generation })
}

export function mustNotFail(consumer: Consumer): void {
  const { failed, calls, firstFailure } = consumer
  must(failed === 0, `${failed} of ${calls} calls of the consumer failed, first: ${firstFailure}`)
}

export async function rotateUnderLoad(stage: Stage, account: Account) {
  const { show } = stage
  await shortenOverlap(stage, account)
  const old = await hold(stage, account)
  const consumer = await startConsumer(stage, account, 0)
  const since = performance.now()
  const elapsed = () => (performance.now() - since) / 1_000
  await rotate(stage, account)
  const watch = () =>
    show.progress(`${consumer.calls} calls, ${consumer.failed} failed, with ${consumer.keyId}`)

  await stage.until(
    'a new key',
    watchFor(watch, () => consumer.keyId),
    (id) => id !== old.keyId,
  )
  const movedAfter = elapsed()
  await reportSeen(stage, account)
  const isAcceptedBeside = (await old.verdict()) === 'alive'
  await stage.until(
    'the old key refused',
    watchFor(watch, () => old.verdict()),
    (v) => v !== 'alive',
  )
  const refusedAfter = elapsed()
  must(
    refusedAfter >= overlapSeconds,
    `the old key was refused after ${seconds(refusedAfter)}, within its overlap`,
  )
  await stage.until(
    `${callsMin} calls`,
    watchFor(watch, () => consumer.calls),
    (n) => n >= callsMin,
  )
  const duration = elapsed()
  await consumer.stop()
  mustNotFail(consumer)

  const facts = {
    account: account.userName,
    calls: consumer.calls,
    failed: consumer.failed,
    seconds: duration,
    oldKey: old.keyId,
    newKey: consumer.keyId,
    movedAfterSeconds: movedAfter,
    oldKeyRefusedAfterSeconds: refusedAfter,
    overlapSeconds,
    oldKeyAcceptedBesideNew: isAcceptedBeside,
  }
  show.fact('account', `${account.userName}; the overlap of its key is set to ${overlapSeconds} s`)
  show.fact(
    'consumer',
    `${facts.calls} calls in ${seconds(duration)}, ${facts.failed} failed; it reads its key again every ${rereadMilliseconds} ms`,
  )
  show.fact('new key', `${facts.newKey} in use by the consumer ${after(movedAfter)}`)
  show.fact(
    'old key',
    `${facts.oldKey} ${isAcceptedBeside ? 'accepted beside the new one, ' : ''}tried and refused ${after(refusedAfter)}`,
  )
  old.close()
  return facts
}

function watchFor<T>(watch: () => void, ask: () => T | Promise<T>): () => T | Promise<T> {
  return () => {
    watch()
    return ask()
  }
}

/** Kills the service between "key created" and "secret stored", and lets it find its way back. */
export async function killMidRotation(stage: Stage, account: Account, elsewhere: Account) {
  const { show, aws, service } = stage
  const { userName } = iamUserOf(stage, account)
  const keys = () => aws.world.keysOf(userName).map((k) => k.accessKeyId)
  const working = await hold(stage, account)
  const consumer = await startConsumer(stage, account, consumerPause)
  aws.faults.arm('CreateAccessKey', { kind: 'hold' })
  await rotate(stage, account)
  show.progress('a rotation is under way')
  await stage.unlessAborted(aws.faults.whenHolding())
  const stray = keys().find((id) => id !== working.keyId)
  must(stray !== undefined, 'the held rotation made no key at AWS')
  const killed = service.pid
  await service.kill()
  aws.faults.release()
  show.fact('rotating', `${account.userName}: AWS has made ${stray}, its answer is held back`)
  show.fact('kill -9', `the service, process ${killed}; the key's secret is lost with it`)

  const foreign = makeForeignKey(stage, iamUserOf(stage, elsewhere).userName)
  show.fact('meanwhile', `somebody else makes ${foreign.id} on ${elsewhere.userName}`)
  const callsWhileDown = consumer.calls
  const startSeconds = await service.restart()
  const downCalls = consumer.calls - callsWhileDown
  const since = performance.now()
  show.fact('restarted', `as process ${service.pid}, listening after ${seconds(startSeconds)}`)

  await stage.until('the stray key removed', keys, (ids) => !ids.includes(stray))
  const strayRemovedAfter = (performance.now() - since) / 1_000
  await stage.until(
    'the rotation finished after the restart',
    () => {
      show.progress(`recovering; ${consumer.calls} calls, ${consumer.failed} failed`)
      return consumer.keyId
    },
    (id) => id !== working.keyId,
  )
  const rotatedAfter = (performance.now() - since) / 1_000
  await consumer.stop()
  mustNotFail(consumer)
  must((await working.verdict()) === 'alive', `the working key ${working.keyId} was touched`)
  must(keys().length === 2, `AWS holds ${keys().length} keys for the account, not old and new`)
  must(foreign.isUntouched(), `the foreign key ${foreign.id} was touched`)

  const facts = {
    account: account.userName,
    strayKey: stray,
    strayRemovedAfterSeconds: strayRemovedAfter,
    workingKey: working.keyId,
    workingKeyVerdict: 'alive',
    newKey: consumer.keyId,
    rotatedAfterSeconds: rotatedAfter,
    restartSeconds: startSeconds,
    calls: consumer.calls,
    callsWhileDown: downCalls,
    failed: consumer.failed,
    foreignKey: foreign.id,
    foreignKeyTouched: false,
  }
  show.fact('stray', `${stray} removed ${after(strayRemovedAfter)} after the restart`)
  show.fact('rotated', `${facts.newKey} delivered and in use ${after(rotatedAfter)}`)
  show.fact('working', `${working.keyId} untouched: tried and accepted`)
  show.fact('', `${facts.calls} calls, ${downCalls} of them while down, ${facts.failed} failed`)
  show.fact('foreign', `${foreign.id} left alone`)
  working.close()
  return { foreign: foreign satisfies ForeignKey, facts }
}
