import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/host/clock.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import type { GithubSandbox } from '../../src/sandbox/github.ts'
import { startGithubSandbox } from '../../src/sandbox/github.ts'
import { crosscheck } from './main.ts'

describe('crosscheck', () => {
  let aws: AwsSandbox
  let github: GithubSandbox
  beforeAll(async () => {
    aws = await startAwsSandbox({ clock: systemClock })
    github = await startGithubSandbox({ clock: systemClock })
  })
  afterAll(() => Promise.all([aws.close(), github.close()]))

  const environment = (): Record<string, string> => ({
    AGAINST_AWS_ACCESS_KEY_ID: aws.world.admin.accessKeyId,
    AGAINST_AWS_SECRET_ACCESS_KEY: aws.world.admin.secretAccessKey,
  })
  const run = async (args: readonly string[], env = environment()) => {
    let said = ''
    const code = await crosscheck(args, env, (text) => (said += text))
    return { code, said }
  }

  it.each([
    ['iam-keys', 16],
    ['secrets-stages', 15],
  ])('finds the sandbox the same as itself in %s', async (scenario, steps) => {
    const { code, said } = await run(['--scenario', scenario, '--against', aws.url])

    expect(said).toContain(`The same at ${aws.url}: ${steps} steps.`)
    expect(code).toBe(0)
    // What could differ is masked, and what is secret with it.
    expect(said).not.toMatch(/AKIA|\b\d{12}\b|\d{4}-\d\d-\d\dT|[0-9a-f]{8}-[0-9a-f]{4}-/)
    expect(aws.world.users()).toEqual([])
    expect(aws.world.secretNames()).toEqual([])
  })

  it('finds GitHub the same as itself, with a token of the installation', async () => {
    const { app } = github.world
    const token = github.world.mintToken(
      github.world.installations.get(app.installationId)!,
      { administration: 'write', metadata: 'read' },
      null,
    )

    const { code, said } = await run(
      ['--scenario', 'github-deploy-keys', '--against-github', github.url],
      { AGAINST_GITHUB_TOKEN: token.token },
    )

    expect(said).toContain(`The same at ${github.url}: 8 steps.`)
    expect(code).toBe(0)
    expect(github.world.deployKeys('acme', 'website')).toEqual([])
  })

  it('names the step at which another place behaves otherwise', async () => {
    aws.faults.arm('UpdateSecretVersionStage', { kind: 'serverError', effect: true })

    const { code, said } = await run(['--scenario', 'secrets-stages', '--against', aws.url])

    expect(code).toBe(1)
    expect(said).toContain('step 6 "a move from where the label is not is refused"')
    expect(said).toContain('sandbox: InvalidParameterException 400')
    expect(said).toContain(`${aws.url}: InternalServiceError 500`)
    expect(said).toContain('1 of 15 steps differ.')
  })

  it.each([
    [['--scenario', 'nothing-like-it'], /ENOENT/],
    [['--scenario', 'iam-keys', '--var', 'x'], /NAME=VALUE/],
    [['--scenario', 'iam-keys', '--nonsense'], /nonsense/],
    [['--scenario', 'iam-keys', '--endpoint', 'http://127.0.0.1:1'], /ECONNREFUSED/],
    [['--scenario', 'github-deploy-keys', '--github', 'http://127.0.0.1:1'], /GITHUB_TOKEN/],
    [[], /npm run crosscheck/],
  ])('says what is wrong with %j', async (args, message) => {
    const { code, said } = await run(args, {
      AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'x',
    })

    expect(code).toBe(2)
    expect(said).toMatch(message)
  })
})
