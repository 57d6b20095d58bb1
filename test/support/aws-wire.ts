import type { Transport, WireAnswer } from '../../src/provider/contract.ts'
import type { AwsWorld } from '../../src/sandbox/aws.ts'
import { openEnvelope, respond } from '../../src/sandbox/aws/respond.ts'

export interface AwsRequest {
  readonly operation: string
  readonly host: string
  readonly headers: Readonly<Record<string, string>>
  /** The form of the request, without signature and envelope. */
  readonly input: URLSearchParams
}

/**
 * HTTP to a world without sockets, signatures and all.
 * @param between stands between request and answer: `answer` lets it have its effect
 */
export function awsTransport(
  world: AwsWorld,
  between: (request: AwsRequest, answer: () => WireAnswer) => WireAnswer = (_, answer) => answer(),
): Transport {
  return async ({ method, url, headers, body }) => {
    const envelope = openEnvelope({
      method,
      url: `${url.pathname}${url.search}`,
      headers: { host: url.host, ...headers },
      body: Buffer.from(body),
    })
    const { operation } = envelope
    const input = new URLSearchParams(body)
    return between({ operation, host: url.host, headers, input }, () => respond(world, envelope))
  }
}

/** As AWS refuses: XML with a code, a sentence and a request id. */
export function awsRefusal(status: number, code: string, message = 'No.'): WireAnswer {
  return {
    status,
    headers: { 'content-type': 'text/xml', 'x-amzn-requestid': 'test' },
    body: `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>test</RequestId></ErrorResponse>`,
  }
}
