import { expect, it } from 'vitest'
import { Installation } from './installation.ts'
import { Laws } from './laws.ts'
import { simulate } from './simulate.ts'

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
/** It re-reads its secrets, so that rotations end. */
const reader = { consumers: [{ name: 'app', cacheTtl: 'PT5M' }] }

// What IAM's lists lag behind by counts from the effect, and nobody heard when that was.
it('finds the key of a call that took its time, had its effect, and whose caller died', async () => {
  await simulate(1)
  const installation = await Installation.open(3, { lagSeconds: 90 })
  const { scheduler, witness, admin } = installation
  const laws = new Laws(installation)
  await installation.start('http', { works: false })
  await installation.start('worker', { works: true })
  let isFirst = true
  installation.fate = ({ operation }) =>
    isFirst && operation === 'CreateAccessKey' ? 'slow' : null
  const saw = witness.saw.bind(witness)
  witness.saw = (operation, ...rest) => {
    saw(operation, ...rest)
    if (operation !== 'CreateAccessKey' || !isFirst) return
    isFirst = false
    installation.node('worker').process.kill()
  }
  const { engine } = installation.node('http')
  const asked = engine
    .createPerson(admin, {
      type: 'person',
      userName: 'owner',
      externalId: null,
      active: true,
      attributes: { schemas: [userSchema] },
    })
    .then(({ person }) =>
      engine.requestAccount(admin, {
        type: 'account',
        userName: 'svc',
        externalId: null,
        active: undefined,
        kind: 'workload',
        owner: { type: 'User', id: person.id },
        backupOwners: undefined,
        purpose: 'simulation',
        environment: undefined,
        labels: undefined,
        expiresAt: undefined,
        protected: undefined,
        credentials: [
          {
            provider: 'aws-prod',
            kind: 'access-key',
            scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
            deliverTo: { sink: 'aws-secrets', path: 'key' },
          },
        ],
        attributes: { schemas: [userSchema, nhiSchema], [nhiSchema]: reader },
      }),
    )
  await Promise.all([asked, scheduler.run(1_800)])

  expect(isFirst).toBe(false)
  await laws.atRest()
  await installation.close()
})
