import { call } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { html } from '../lib/html.js'
import { link } from '../lib/router.js'
import { Commands } from './commands.js'
import { Card } from './page.js'
import { ScimStatus } from './scim-request.js'
import { Problem } from './states.js'
import { Status } from './status.js'
import { Code, Facts, Text, When } from './text.js'

/** Connections looked at: three small requests each. */
const most = 12
const lookEveryMs = 15_000

/**
 * How each connection does: its last request, and its last failure. What somebody who sets one up
 * looks at.
 * @param {{ clients: import('../lib/data.js').Read<any>, current: string | null }} props
 */
export function Connections({ clients, current }) {
  /** @type {readonly any[]} */
  const all = clients.data?.items ?? []
  const wanted = all
    .filter((c) => c.revokedAt === null && (c.role === 'directory' || c.id === current))
    .slice(0, most)
  return html`<${Card} title="Connections">
    ${clients.error ? html`<${Problem} error=${clients.error} again=${clients.reload} />` : null}
    ${
      clients.data && wanted.length === 0
        ? html`<p>
            No identity provider is connected: no client has the role <code>directory</code>. Make
            one, then follow the steps below.
          </p>`
        : null
    }
    <ul class="connections">
      ${wanted.map((c) => html`<${Connection} key=${c.id} client=${c} isCurrent=${c.id === current} />`)}
    </ul>
    <${SetUp} isOpen=${clients.data !== null && wanted.length === 0} />
  <//>`
}

/** @param {{ client: any, isCurrent: boolean }} props */
function Connection({ client, isCurrent }) {
  const read = useRead(`/api/v1/scim-requests?client=${client.id}&limit=1`, {
    everyMs: lookEveryMs,
    read: async (route, signal) => {
      const [last, failed, open] = await Promise.all([
        call('GET', route, undefined, { signal }),
        call('GET', `${route}&status=failed`, undefined, { signal }),
        call('GET', `/api/v1/scim-requests/failed?client=${client.id}&limit=100`, undefined, {
          signal,
        }),
      ])
      const more = open.cursor === null ? '' : ' or more'
      return {
        last: last.items[0] ?? null,
        failed: failed.items[0] ?? null,
        open: open.items.length,
        openText: `${open.items.length}${more}`,
      }
    },
  })
  const { data } = read
  return html`<li class="connection">
    <div class="row">
      <h3><${Text} value=${client.name} /></h3>
      ${data ? html`<${Mark} data=${data} />` : null}
      <span class="spring"></span>
      ${
        isCurrent
          ? null
          : html`<a class="button small-button" href=${link(['scim-log'], { client: client.id })}
              >Its requests<span class="hidden"> of <${Text} value=${client.name} /></span
            ></a>`
      }
    </div>
    ${read.error ? html`<${Problem} error=${read.error} again=${read.reload} />` : null}
    ${
      data
        ? html`<${Facts}
            facts=${[
              [
                'Last request',
                data.last
                  ? html`<${When} at=${data.last.at} />:${' '}
                      <span class="action-name">${data.last.method} ${data.last.route}</span>${' '}
                      <${ScimStatus} value=${data.last.status} />`
                  : 'none in 30 days',
              ],
              [
                'Last failure',
                data.failed
                  ? html`<${When} at=${data.failed.at} />: <${Text} value=${data.failed.error} />`
                  : 'none in 30 days',
              ],
              ['Directory', html`<${Text} value=${client.directory} />`],
              ['Dialect', client.dialect],
              [
                'Undecided failures',
                data.open > 0
                  ? html`<a href=${link(['scim-log'], { view: 'failed', client: client.id })}
                      >${data.openText}<span class="hidden">
                        of <${Text} value=${client.name} /></span
                    ></a>`
                  : null,
              ],
              [
                'Token used',
                html`<${When}
                  at=${client.tokens
                    .map((/** @type {any} */ t) => t.lastUsedAt)
                    .filter(Boolean)
                    .sort()
                    .at(-1)}
                  none="never"
                />`,
              ],
            ]}
          />`
        : null
    }
  </li>`
}

/** @param {{ data: any }} props */
function Mark({ data }) {
  if (data.last === null) return html`<${Status} value="nothing has arrived" tone="off" />`
  if (data.open > 0) return html`<${Status} value="writes were refused" tone="warn" />`
  if (data.last.status >= 400) return html`<${Status} value="the last one failed" tone="warn" />`
  return html`<${Status} value="works" tone="good" />`
}

/** @param {{ isOpen: boolean }} props */
function SetUp({ isOpen }) {
  return html`<details open=${isOpen}>
    <summary>Set up Okta or Entra ID</summary>
    <ol class="numbered">
      <li>
        Make a client for it; the token is shown once:
        <${Commands}
          lines=${['custody client create --name okta --role directory --directory okta']}
        />
      </li>
      <li>
        SCIM address, “Base URL” at Okta and “Tenant URL” at Entra: ${' '}<${Code}
          value=${`${window.location.origin}/scim/v2`}
        />. It must be reachable from there; Okta's and Entra's agents reach what the internet does
        not.
      </li>
      <li>
        Okta: unique field <code>userName</code>, authentication by HTTP header. Entra: no flag is
        needed, its habits are understood.
      </li>
      <li>
        Press “Test connection” there. Its requests show here within seconds, and when one fails,
        why. A 401 is a wrong token; nothing at all is a network that does not let it through.
      </li>
      <li>
        Map what “What clients send” lists as missing: above all the manager, and mail addresses.
      </li>
    </ol>
    <p class="small">
      Step by step: <code>docs/how-to/okta.md</code> and <code>docs/how-to/entra-id.md</code>.
    </p>
  </details>`
}
