import { afterEach, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { hours, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
afterEach(() => test.close())

const vault = () => test.github.world.findRepository('acme', 'website')!.actions
const served = async () => (await vault().open('AWS_KEY'))?.toString('utf8') ?? ''
const accept = async () => {
  const { accessKeyId } = JSON.parse(await served()) as { accessKeyId: string }
  return test.aws.world.wouldAccept(accessKeyId)
}

async function delivered() {
  test = await startTestEngine()
  const owner = await test.person()
  const deliverTo = { sink: 'github-actions', path: 'acme/website/AWS_KEY' }
  const account = await test.request(owner, { credentials: [wants.accessKey({ deliverTo })] })
  const [credential] = await test.credentials(account.id)
  return { owner, account, credential: credential! }
}

it('serves workflows a key, rotates it and ends it with its owner, and no row shows the box', async () => {
  const { owner, account, credential } = await delivered()
  const first = await served()
  const isUp = await accept()

  await test.engine.rotateCredential(test.admin, credential.id)
  await test.pass(60, 20)
  const second = await served()
  const isUpStill = await accept()
  await test.leave(owner)
  await test.pass(hours(2), hours(1))

  expect(credential).toMatchObject({
    status: 'active',
    secretRef: 'github-actions://acme/website/AWS_KEY',
  })
  expect([isUp, isUpStill]).toEqual([true, true])
  expect(second).not.toBe(first)
  expect(await test.liveAtProviders(account.id)).toEqual([])
  const sealed = (await test.keys(credential.id)).map((key) => key.sinkVersion!.split('~')[2]!)
  expect(sealed[0]!.length).toBeGreaterThan(100)
  const rows = JSON.stringify(
    await test.store.read.audit(test.admin.tenant, { after: null, limit: 200 }),
  )
  for (const box of sealed) expect(rows).not.toContain(box)
})

it('keeps the old key in use when GitHub changes its public key before a promotion', async () => {
  const { credential } = await delivered()
  const first = await served()
  test.github.faults.arm(
    'PUT /repos/{owner}/{repo}/actions/secrets/{secret_name}',
    { kind: 'reset' },
    1,
  )
  const operation = await test.engine.rotateCredential(test.admin, credential.id)
  await test.worker.drain()

  vault().rotateKey()
  await test.pass(hours(1), 60)

  expect(await test.operation(operation.id)).toMatchObject({ status: 'failed' })
  expect(await served()).toBe(first)
  expect(await accept()).toBe(true)
  expect((await test.credential(credential.id)).lastError).toContain('rotate again')
})
