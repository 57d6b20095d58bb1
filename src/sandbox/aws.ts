import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { assertNever } from '../domain/json.ts'
import type { Clock } from '../domain/time.ts'
import { AwsError } from './aws/error.ts'
import { idTokenAnswer } from './aws/id-token.ts'
import type { Envelope, WireAnswer } from './aws/respond.ts'
import { answerError, openEnvelope, respond } from './aws/respond.ts'
import { AwsWorld } from './aws/world.ts'
import type { Fault } from './faults.ts'
import { Faults } from './faults.ts'

export { AwsError } from './aws/error.ts'
export type { AwsCall, KeyView, SecretView, UserView } from './aws/world.ts'
export { AwsWorld }

export interface AwsSandbox {
  /** The one endpoint of IAM, STS and Secrets Manager, `http://127.0.0.1:<port>`. */
  readonly url: string
  readonly world: AwsWorld
  readonly faults: Faults
  close(): Promise<void>
}

const bodyBytesMax = 1 << 20

/**
 * Starts a stateful AWS on loopback for the real SDK clients. Faults are armed by operation name
 * (`CreateAccessKey`); each fires as often as it was armed for.
 * @param options.port 0 or absent: any free port
 */
export async function startAwsSandbox(options: {
  readonly clock: Clock
  readonly port?: number
  readonly world?: AwsWorld
  readonly faults?: Faults
}): Promise<AwsSandbox> {
  const world = options.world ?? new AwsWorld({ clock: options.clock })
  const faults = options.faults ?? new Faults()
  const server = createServer((request, response) => {
    // A client that hangs up mid-request is no fault of the sandbox.
    handle(request, response).catch(() => request.socket.destroy())
  })
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const token = idTokenAnswer(world, request.method ?? 'GET', request.url ?? '/')
    if (token !== null) {
      response.writeHead(token.status, token.headers).end(token.body)
      return
    }
    const envelope = openEnvelope({
      method: request.method ?? 'GET',
      url: request.url ?? '/',
      headers: flatHeaders(request),
      body: await readBody(request),
    })
    const answer = await answerWithFault(world, faults, envelope)
    if (answer === null) request.socket.destroy()
    else {
      // The time it is in this AWS, which a test may have made by hand.
      const date = new Date(options.clock.now()).toUTCString()
      response.writeHead(answer.status, { date, ...answer.headers }).end(answer.body)
    }
  }
  await listen(server, options.port ?? 0)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    world,
    faults,
    close: () => {
      faults.release()
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** @returns null when the connection is to be cut instead of an answer */
async function answerWithFault(
  world: AwsWorld,
  faults: Faults,
  envelope: Envelope,
): Promise<WireAnswer | null> {
  const fault: Fault | null = faults.take(envelope.operation)
  if (fault === null) return respond(world, envelope)
  switch (fault.kind) {
    case 'reset':
      return null
    case 'lostResponse':
      respond(world, envelope)
      return null
    case 'throttle': {
      const refusal = answerError(envelope.service, new AwsError('Throttling', 'Rate exceeded'))
      const wait = String(fault.retryAfterSeconds)
      return { ...refusal, headers: { ...refusal.headers, 'retry-after': wait } }
    }
    case 'serverError':
      if (fault.effect) respond(world, envelope)
      return answerError(
        envelope.service,
        new AwsError(
          envelope.service === 'iam' ? 'ServiceFailure' : 'InternalFailure',
          'Try again.',
        ),
      )
    case 'garbage':
      return proxyPage(respond(world, envelope))
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, fault.milliseconds))
      return respond(world, envelope)
    case 'hold': {
      const answer = respond(world, envelope)
      await faults.hold()
      return answer
    }
    default:
      return assertNever(fault)
  }
}

/** What a proxy in between makes of an answer. */
export function proxyPage({ status }: WireAnswer): WireAnswer {
  return { status, headers: { 'content-type': 'text/html' }, body: '<html>Bad gateway</html>' }
}

function flatHeaders(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, [value ?? ''].flat().join(',')]),
  )
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bodyBytesMax) throw new Error(`the body is larger than ${bodyBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
}
