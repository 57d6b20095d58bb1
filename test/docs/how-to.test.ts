import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { cp, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

const folder = path.resolve(import.meta.dirname, '../../docs/how-to')

interface Exchange {
  readonly method: string
  readonly route: string
  readonly body: string | undefined
  readonly status: number
  /** What the answer says among other things. */
  readonly answer: object | null
}

/** What a how-to asks its reader to run, in order: commands of a shell, and requests. */
function stepsOf(text: string): readonly (string | Exchange)[] {
  const blocks = Array.from(text.matchAll(/^```(sh|http)\n([\s\S]*?)^```/gm))
  return blocks.flatMap(([, kind, block = '']): readonly (string | Exchange)[] =>
    kind === 'sh' ? block.trim().split('\n') : block.trim().split(/\n\n/).map(exchangeOf),
  )
}

function exchangeOf(text: string): Exchange {
  const found = /^([A-Z]+) (\S+)\n(?:([\s\S]+)\n)?# (\d{3})(?: (.+))?$/.exec(text)
  if (!found) throw new Error(`no request with an answer: ${text}`)
  const [, method = '', route = '', body, status, answer] = found
  return { method, route, body, status: Number(status), answer: answer ? JSON.parse(answer) : null }
}

/** A home with a provider for AWS and the rule that a how-to asks its reader to write. */
async function federatedHome(aws: AwsSandbox): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), 'custody-how-to-'))
  await cp(path.resolve(folder, '../../policies'), path.join(home, 'policies'), { recursive: true })
  const rules = path.join(home, 'policies/lifecycle.yaml')
  const text = readFileSync(path.join(folder, 'federate-github-actions.md'), 'utf8')
  const rule = /^rules:\n([\s\S]*?)^```/m.exec(text)![1]!
  writeFileSync(rules, `${readFileSync(rules, 'utf8')}\n${rule}`)
  const credentials = JSON.stringify(aws.world.admin)
  const config = `{ region: us-east-1, endpoint: "${aws.url}", credentials: ${credentials} }`
  writeFileSync(
    path.join(home, 'custody.yaml'),
    `policies: ./policies\nproviders:\n  - { name: aws-prod, type: aws-iam, config: ${config} }\n`,
  )
  return home
}

describe('what a how-to tells its reader to do', () => {
  let custody: TestCustody
  let aws: AwsSandbox
  beforeAll(async () => {
    aws = await startAwsSandbox({ clock: systemClock })
    custody = await startTestCustody({ roles: ['http'], home: await federatedHome(aws) })
  })
  afterAll(async () => {
    await custody.close()
    await aws.close()
  })

  const run = async (line: string): Promise<string> => {
    const tokenFile = path.join(custody.home, 'how-to-token')
    writeFileSync(tokenFile, custody.adminToken, { mode: 0o600 })
    const server = ['--json', '--server', custody.url, '--token-file', tokenFile]
    const { code, stdout, stderr } = await runCli([...line.split(' ').slice(1), ...server], {
      env: {},
      cwd: custody.home,
    })
    expect(code, `${line}: ${stderr}`).toBe(0)
    return stdout
  }

  it.each(['okta', 'entra-id', 'federate-github-actions'])(
    'does what it says: %s',
    async (name) => {
      const steps = stepsOf(readFileSync(path.join(folder, `${name}.md`), 'utf8'))
      const known = new Map<string, string>()
      const filled = (text: string): string =>
        text.replaceAll(
          /\{(client|token|user|group|credential)\}/g,
          (_, key: string) => known.get(key) ?? '',
        )
      const command = async (line: string): Promise<void> => {
        const answer = JSON.parse(await run(filled(line)))
        if (line.includes('client create'))
          known.set('client', answer.id).set('token', answer.token)
      }
      const request = async ({ method, route, body, status, answer }: Exchange): Promise<void> => {
        const isForm = route === '/oauth2/token'
        const reply = await custody.call(method, filled(route), body && filled(body), {
          token: route.startsWith('/api/') ? custody.adminToken : known.get('token')!,
          headers: isForm ? { 'content-type': 'application/x-www-form-urlencoded' } : {},
        })
        const context = `${method} ${filled(route)}: ${reply.text}`
        expect(reply.status, context).toBe(status)
        expect(reply.body ?? {}, context).toMatchObject(answer ?? {})
        if (status === 201) known.set(reply.body.meta.resourceType.toLowerCase(), reply.body.id)
      }

      expect(steps.length).toBeGreaterThan(6)
      for (const step of steps) await (typeof step === 'string' ? command(step) : request(step))
    },
  )
})
