import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import { AwsError } from '../../src/sandbox/aws/error.ts'
import type { Envelope, WireAnswer } from '../../src/sandbox/aws/respond.ts'
import { answerError, openEnvelope, respond } from '../../src/sandbox/aws/respond.ts'
import { AwsWorld } from '../../src/sandbox/aws.ts'

/** What becomes of a call whose caller is about to be killed. */
export const callFates = ['not sent', 'failed', 'response lost'] as const
export type CallFate = (typeof callFates)[number]

export interface HeldAws {
  readonly url: string
  readonly world: AwsWorld
  /** Counts the account's calls from now on, and holds the one numbered so, from 0. */
  watch(account: string, at: { readonly call: number; readonly fate: CallFate } | null): void
  callsOf(account: string): number
  /** How often an operation succeeded. */
  succeeded(operation: string): number
  onHeld: (account: string) => void
  /** Forgets whom it held; nothing that was not performed ever is. */
  drop(): void
  close(): Promise<void>
}

interface Watched {
  seen: number
  readonly at: { readonly call: number; readonly fate: CallFate } | null
}

/**
 * An AWS on loopback that lets a chosen call of a chosen account stand: before its effect, after it,
 * or, when it was refused, at whatever that account asks next.
 */
export async function startHeldAws(clock: Clock = systemClock): Promise<HeldAws> {
  const world = new AwsWorld({ clock })
  const watched = new Map<string, Watched>()
  const successes = new Map<string, number>()
  const act = (envelope: Envelope): WireAnswer => {
    const answer = respond(world, envelope)
    const { operation } = envelope
    if (answer.status < 300) successes.set(operation, (successes.get(operation) ?? 0) + 1)
    return answer
  }

  const accountOf = ({ request, authorization }: Envelope): string | null => {
    const body = request.body.toString('utf8')
    for (const name of watched.keys()) if (body.includes(name)) return name
    const keyId = authorization?.accessKeyId
    if (keyId === undefined || keyId === world.admin.accessKeyId) return null
    for (const name of watched.keys()) {
      const user = world.users().find((u) => u.userName.includes(name))
      if (user && world.keysOf(user.userName).some((k) => k.accessKeyId === keyId)) return name
    }
    return null
  }

  /** @returns null when the answer never comes */
  const answerTo = (envelope: Envelope): WireAnswer | null => {
    const account = accountOf(envelope)
    const of = account === null ? undefined : watched.get(account)
    if (!of) return act(envelope)
    const nth = of.seen++
    const { at } = of
    if (at === null || nth < at.call) return act(envelope)
    if (at.fate === 'failed' && nth === at.call) {
      const code = envelope.service === 'iam' ? 'ServiceFailure' : 'InternalFailure'
      return answerError(envelope.service, new AwsError(code, 'Try again.'))
    }
    if (at.fate === 'response lost') act(envelope)
    aws.onHeld(account!)
    return null
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const answer = answerTo(
      openEnvelope({
        method: request.method ?? 'GET',
        url: request.url ?? '/',
        headers: Object.fromEntries(
          Object.entries(request.headers).map(([name, v]) => [name, [v ?? ''].flat().join(',')]),
        ),
        body: Buffer.concat(chunks),
      }),
    )
    if (answer !== null) response.writeHead(answer.status, answer.headers).end(answer.body)
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const aws: HeldAws = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    world,
    watch: (account, at) => void watched.set(account, { seen: 0, at }),
    succeeded: (operation) => successes.get(operation) ?? 0,
    callsOf: (account) => watched.get(account)?.seen ?? 0,
    onHeld: () => undefined,
    drop() {
      watched.clear()
      server.closeAllConnections()
    },
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return aws
}
