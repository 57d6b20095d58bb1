import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ask,
  clock,
  installationToken,
  jwt,
  keysPath,
  mint,
  publicKey,
  sandbox,
  start,
  world,
} from '../support/github-asking.ts'

beforeEach(() => start())
afterEach(() => sandbox.close())

describe('what only happens at the real GitHub', () => {
  const list = async (token: string) => ask('GET', '/installation/repositories', token)

  it('is unknown for half of its birth lag, then without rights, then whole', async () => {
    world.tokenLag.birth = 10
    const token = await installationToken()

    const statuses: number[] = []
    for (const wait of [0, 5, 5]) {
      clock.advance(wait)
      statuses.push((await list(token)).status)
    }

    expect(statuses).toEqual([401, 403, 200])
  })

  it('lets a revoked token work for its death lag', async () => {
    world.tokenLag.death = 5
    const token = await installationToken()
    await ask('DELETE', '/installation/token', token)

    const late = (await list(token)).status
    clock.advance(5)

    expect([late, (await list(token)).status]).toEqual([200, 401])
  })

  it('takes nothing into an archived repository, nor out of it, and shows it all the same', async () => {
    const token = await installationToken()
    const { body } = await ask('POST', keysPath, token, { title: 't', key: publicKey() })
    world.findRepository('acme', 'website')!.archived = true

    const answers = [
      await ask('POST', keysPath, token, { title: 't', key: publicKey() }),
      await ask('DELETE', `${keysPath}/${String(body['id'])}`, token),
      await ask('GET', keysPath, token),
    ]

    expect(answers.map((answer) => answer.status)).toEqual([403, 403, 200])
    expect(answers[0]!.body['message']).toContain('archived')
  })

  it('forbids deploy keys in all repositories of the organisation, later ones included', async () => {
    world.allowDeployKeys(false)
    world.addRepository('later')
    const token = await installationToken()

    const answer = await ask('POST', '/repos/acme/later/keys', token, { key: publicKey() })

    expect(answer.status).toBe(422)
    expect(JSON.stringify(answer.body)).toContain('Deploy keys are disabled for this repository')
  })

  it('ends all tokens of an App that is uninstalled, and knows no installation of it', async () => {
    const token = await installationToken()
    world.uninstall()

    expect([(await list(token)).status, (await mint()).status]).toEqual([401, 404])
    expect((await ask('GET', '/app', jwt())).status).toBe(200)
  })

  it('keeps a time of its own', async () => {
    world.skew = 700

    const answer = await ask('GET', '/app', jwt())

    expect(answer.status).toBe(401)
    expect(Date.parse(answer.headers.get('date')!) - Date.parse(clock.now())).toBe(700_000)
  })

  it('counts what is made by the minute, says so without a time, and forgets', async () => {
    await start({ secondaryLimits: { creationsPerMinute: 2 } })

    const statuses = [await mint(), await mint(), await mint()].map((answer) => answer.status)
    const refused = await mint()
    clock.advance(61)

    expect(statuses).toEqual([201, 201, 403])
    expect(refused.body['message']).toContain('secondary rate limit')
    expect(refused.headers.get('retry-after')).toBeNull()
    expect((await mint()).status).toBe(201)
  })
})
