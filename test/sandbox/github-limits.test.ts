import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { githubContract } from '../../src/sandbox/github-contract.ts'
import type { GithubLimitSettings } from '../../src/sandbox/github-limits.ts'
import type { GithubSandbox } from '../../src/sandbox/github.ts'
import { startGithubSandbox } from '../../src/sandbox/github.ts'
import { ManualClock } from '../support/manual-clock.ts'

describe('secondary limits of the GitHub sandbox', () => {
  const clock = new ManualClock()
  let sandbox: GithubSandbox
  let authorization = ''
  const route = 'GET /repos/{owner}/{repo}/keys'
  beforeAll(async () => {
    sandbox = await startGithubSandbox({ clock })
  })
  beforeEach(() => {
    const { world } = sandbox
    const installation = world.installations.get(world.app.installationId)!
    authorization = `token ${world.mintToken(installation, { administration: 'write' }, null).token}`
  })
  afterAll(() => sandbox.close())

  const ask = async (method: string) => {
    const response = await fetch(`${sandbox.url}/repos/acme/website/keys`, {
      method,
      headers: { authorization },
      ...(method === 'POST' ? { body: JSON.stringify({ key: 'nonsense' }) } : {}),
    })
    const body: unknown = await response.json()
    const { message } = body as { readonly message?: string }
    expect(githubContract().checkResponse(route, response.status, body)).toBeNull()
    const wait = response.headers.get('retry-after')
    return { status: response.status, wait, isLimit: /secondary rate limit/.test(message ?? '') }
  }
  const allowed = { status: 200, wait: null, isLimit: false }
  const tried = { status: 422, wait: null, isLimit: false }

  it.each<readonly [string, GithubLimitSettings, readonly string[], object]>([
    ['points, a read', { pointsPerMinute: 2 }, ['GET', 'GET', 'GET'], { wait: '60' }],
    ['points, a write costs five', { pointsPerMinute: 9 }, ['POST', 'POST'], { wait: '60' }],
    ['content by the minute', { contentPerMinute: 1 }, ['POST', 'POST'], { wait: '60' }],
    ['content by the hour', { contentPerHour: 1 }, ['POST', 'POST'], { wait: '3600' }],
    ['429', { contentPerMinute: 1, status: 429 }, ['POST', 'POST'], { status: 429 }],
    [
      'nothing about when',
      { contentPerMinute: 1, tellsRetryAfter: false },
      ['POST', 'POST'],
      { wait: null },
    ],
  ])('refuse by %s', async (_what, settings, methods, expected) => {
    sandbox.limits.set(settings)
    const answers = []
    for (const method of methods) answers.push(await ask(method))

    const last = answers.pop()
    expect(last).toEqual({ status: 403, wait: '60', isLimit: true, ...expected })
    for (const answer of answers) expect([allowed, tried]).toContainEqual(answer)
    expect((await ask(methods[0]!)).isLimit).toBe(true)
    // Just short of the hour that the token lives.
    clock.advance(3_599)
    expect((await ask('GET')).isLimit).toBe(false)
  })

  it('refuse what is open beside too many others, and count until answers are sent', async () => {
    sandbox.limits.set({ concurrent: 1 })
    sandbox.faults.arm(route, { kind: 'hold' })
    const held = ask('GET')
    await sandbox.faults.whenHolding()

    const beside = await ask('GET')
    sandbox.faults.release()

    expect(beside).toEqual({ status: 403, wait: '1', isLimit: true })
    expect(await held).toEqual(allowed)
    expect(await ask('GET')).toEqual(allowed)
  })

  it('are off unless they are set', async () => {
    sandbox.limits.set({})
    const answers = await Promise.all(Array.from({ length: 120 }, () => ask('GET')))

    expect(answers.every((a) => !a.isLimit)).toBe(true)
  })
})
