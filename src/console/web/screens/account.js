import { acts, perform } from '../lib/accounts.js'
import { call } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { mayAct, session } from '../lib/session.js'
import { Credentials } from '../parts/credentials.js'
import { Consumers } from '../parts/consumers.js'
import { Confirm } from '../parts/dialog.js'
import { OwnerName } from '../parts/find-person.js'
import { isWithin } from '../parts/impact.js'
import { notify } from '../parts/notices.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { Code, Facts, Sentence, Text, When } from '../parts/text.js'
import { Timeline } from '../parts/timeline.js'

/** One service account: who answers for it, what it can do, why it is as it is, and what comes next. @param {{ place: import('../lib/router.js').Place }} props */
export function AccountScreen({ place }) {
  const [id] = place.rest
  if (!id) {
    return html`<${Page} title="Account"
      ><${Empty} title="Which one?"><a href=${link(['accounts'])}>Find an account</a><//><//
    >`
  }
  return html`<${Account} key=${id} id=${id} />`
}

/** @param {{ id: string }} props */
function Account({ id }) {
  const read = useRead(`/api/v1/accounts/${encodeURIComponent(id)}`, {
    concerns: (c) =>
      c.subject.id === id || c.facts?.account === id || c.subject.type === 'credential',
  })
  const account = read.data
  return html`<${Page}
    title=${account?.userName ?? 'Account'}
    lead=${html`<a href=${link(['accounts'])}>Accounts</a>`}
    actions=${account ? html`<${Actions} account=${account} reload=${read.reload} />` : null}
  >
    <${Shown} read=${read} what="Reading the account">
      ${(/** @type {any} */ a) =>
        html`<div class="grid">
            <${Card} title="State"><${State} account=${a} /><//>
            <${Card} title="Who answers for it"><${Owner} account=${a} /><//>
          </div>
          <${Card} title="Credentials"><${Credentials} account=${a} reload=${read.reload} /><//>
          <${Card} title="Consumers"><${Consumers} account=${a} /><//>
          <div class="grid">
            <${Card} title="What comes next"><${Next} account=${a} /><//>
            <${Card} title="About"><${About} account=${a} /><//>
          </div>
          <${Card} title="What happened"
            ><${Timeline} ids=${[id, ...a.credentials.map((/** @type {any} */ c) => c.id)]}
          /><//>`}
    <//>
  <//>`
}

/** @param {{ account: any }} props */
function State({ account: a }) {
  return html`<p class="summary">
      <${Status} value=${a.status} />${
        a.protected ? html` <${Status} value="protected" tone="good" />` : null
      }${a.enforcement === 'observe' ? html` <${Status} value="only watched" tone="warn" />` : null}
    </p>
    <p>
      ${
        a.why
          ? html`<${Sentence} value=${a.why.sentence} />
              ${a.why.since ? html`<span class="small">since <${When} at=${a.why.since} /></span>` : null}`
          : a.statusReason
            ? html`<${Text} value=${a.statusReason} />`
            : html`<span class="soft">Nothing out of the ordinary.</span>`
      }
    </p>
    ${
      a.why?.cause
        ? html`<p class="small">
            <a href=${link(['operations', a.why.cause.operation])}>The operation behind it</a>, by
            <${Text} value=${a.why.cause.actor.name} />
          </p>`
        : null
    }
    <${Facts}
      facts=${[
        ['Orphaned', a.orphanedAt ? html`<${When} at=${a.orphanedAt} exact />` : null],
        ['Disabled', a.disabledAt ? html`<${When} at=${a.disabledAt} exact />` : null],
        ['Retired', a.retiredAt ? html`<${When} at=${a.retiredAt} exact />` : null],
      ]}
    />`
}

/** @param {{ account: any }} props */
function Owner({ account: a }) {
  return html`<${Facts}
      facts=${[
        ['Owner', html`<${OwnerName} owner=${a.owner} />`],
        ['Offered to', a.pendingOwner ? html`<${OwnerName} owner=${a.pendingOwner} />` : null],
        ['Certified', a.certifiedAt ? html`<${When} at=${a.certifiedAt} />` : null],
        ['Certify by', a.certifyBy ? html`<${When} at=${a.certifyBy} />` : null],
      ]}
    />
    <h3>Backups</h3>
    ${
      a.backups.length === 0
        ? html`<p class="soft">Nobody: when the owner leaves, nobody can take it over.</p>`
        : html`<ol class="tight">
            ${a.backups.map(
              (/** @type {any} */ b) =>
                html`<li>
                  <${OwnerName} owner=${b} />
                  <span class="small"
                    >${b.acceptedAt ? html`accepted <${When} at=${b.acceptedAt} />` : 'nominated'}</span
                  >
                </li>`,
            )}
          </ol>`
    }`
}

/** What the deciding functions say will happen, in order. @param {{ account: any }} props */
function Next({ account: a }) {
  const events = /** @type {readonly any[]} */ (
    a.next ??
    [
      ['ends', a.expiresAt],
      ['certification is due', a.certifyBy],
      ['disabled, unless somebody takes it over', a.disableAt],
      ['deleted', a.deleteAt],
    ]
      .filter(([, at]) => at)
      .map(([what, at]) => ({ what, at, rule: null }))
  )
  if (events.length === 0) return html`<${Empty} title="Nothing is due." />`
  return html`<ol class="timeline">
    ${events.map(
      (e) =>
        html`<li>
          <p>
            <strong><${Text} value=${e.what} /></strong> <${When} at=${e.at} />
            ${e.rule ? html` <span class="small"><${Text} value=${words(e.rule)} /></span>` : null}
            ${
              e.effect === 'says'
                ? html` <${Status} value="told, not done" tone="off" />`
                : e.effect === 'watches'
                  ? html` <${Status} value="only watched" tone="off" />`
                  : null
            }
            ${e.heldBy ? html` <span class="small">held by <${Text} value=${e.heldBy} /></span>` : null}
          </p>
        </li>`,
    )}
  </ol>`
}

/** @param {{ account: any }} props */
function About({ account: a }) {
  return html`<${Facts}
    facts=${[
      ['Purpose', html`<${Text} value=${a.purpose} />`],
      ['Kind', words(a.kind)],
      ['Environment', a.environment ? html`<${Text} value=${a.environment} />` : null],
      ['Labels', a.labels.length > 0 ? html`<${Text} value=${a.labels.join(', ')} />` : null],
      ['Ends', html`<${When} at=${a.expiresAt} none="never" />`],
      ['Created', html`<${When} at=${a.createdAt} />`],
      ['Found, not made', a.imported ? 'yes' : null],
      [
        'At providers',
        a.principals.length > 0
          ? html`<${Text}
              value=${a.principals.map((/** @type {any} */ p) => `${p.provider} (${p.state})`).join(', ')}
            />`
          : null,
      ],
      ['Id', html`<${Code} value=${a.id} />`],
    ]}
  />`
}

const closed = new Set(['retired', 'retiring'])

/** @param {{ account: any, reload: () => void }} props */
function Actions({ account, reload }) {
  const [act, setAct] = useState(
    /** @type {import('../lib/accounts.js').Act | 'transfer' | null} */ (null),
  )
  const role = session.get()?.client.role ?? ''
  if (closed.has(account.status) || role === 'auditor') return null
  const isOff = ['disabled', 'expired', 'disabling'].includes(account.status)
  /** @type {readonly import('../lib/accounts.js').Act[]} */
  const offered = isOff
    ? ['enable', 'retire']
    : ['active', 'provisioning'].includes(account.status)
      ? ['certify', 'disable', 'retire']
      : ['disable', 'retire']
  return html`<button type="button" onClick=${() => setAct('transfer')}>Transfer…</button>
    ${offered.map(
      (name) =>
        html`<button
          type="button"
          class=${acts[name].isDestructive ? 'danger' : ''}
          onClick=${() => setAct(name)}
        >
          ${acts[name].title}…
        </button>`,
    )}
    ${
      act === 'transfer'
        ? html`<${Transfer} account=${account} onClose=${() => setAct(null)} onDone=${reload} />`
        : act
          ? html`<${Ask}
              act=${act}
              account=${account}
              onClose=${() => setAct(null)}
              onDone=${reload}
            />`
          : null
    }`
}

/** @param {{ act: import('../lib/accounts.js').Act, account: any, onClose: () => void, onDone: () => void }} props */
function Ask({ act, account, onClose, onDone }) {
  const { title, said, isDestructive } = acts[act]
  const inUse = account.credentials.filter((/** @type {any} */ c) => isWithin(c.lastUsedAt, 7))
  return html`<${Confirm}
    title=${`${title} ${account.userName}`}
    verb=${title}
    isDestructive=${isDestructive}
    typed=${isDestructive ? account.userName : undefined}
    reason="optional"
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ given) => {
      await perform(act, account, given)
      notify(`${account.userName}: ${title.toLowerCase()} has begun.`)
      onDone()
    }}
  >
    <p>${said}</p>
    ${
      account.credentials.length > 0
        ? html`<ul class="tight">
            ${account.credentials.map(
              (/** @type {any} */ c) =>
                html`<li>
                  <${Text} value=${`${c.provider} ${c.kind}`} /> <${Status} value=${c.status} />
                  <span class="small"
                    >last used <${When} at=${c.lastUsedAt} none="never seen"
                  /></span>
                </li>`,
            )}
          </ul>`
        : null
    }
    ${
      isDestructive && inUse.length > 0
        ? html`<div class="banner bad">
            <p><strong>In use within the last 7 days.</strong></p>
          </div>`
        : null
    }
  <//>`
}

/** @param {{ account: any, onClose: () => void, onDone: () => void }} props */
function Transfer({ account, onClose, onDone }) {
  const [q, setQ] = useState('')
  const [to, setTo] = useState(/** @type {any} */ (null))
  const [isAtOnce, setAtOnce] = useState(false)
  const found = useRead(
    q.length < 2 ? null : `/api/v1/owners?q=${encodeURIComponent(q)}&limit=10`,
    {
      concerns: () => false,
    },
  )
  const people = (found.data?.items ?? []).filter((/** @type {any} */ p) => p.active)
  return html`<${Confirm}
    title=${`Transfer ${account.userName}`}
    verb=${isAtOnce ? 'Pass it at once' : 'Offer it'}
    reason=${isAtOnce ? 'required' : 'optional'}
    isComplete=${to !== null}
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const body = {
        owner: to.id,
        ...(isAtOnce ? { atOnce: true } : {}),
        ...(reason ? { reason } : {}),
      }
      await call('POST', `/api/v1/accounts/${account.id}/transfer`, body, { key })
      notify(isAtOnce ? `${account.userName} has a new owner.` : `${account.userName} is offered.`)
      onDone()
    }}
  >
    <p>The owner stays until the other one accepts.</p>
    <label class="field"
      >New owner
      <input
        name="owner"
        autocomplete="off"
        placeholder="Beginning of a name"
        value=${q}
        onInput=${(/** @type {any} */ e) => {
          setQ(e.target.value)
          setTo(null)
        }}
    /></label>
    ${
      people.length > 0
        ? html`<fieldset class="choices">
            <legend>People found</legend>
            ${people.map(
              (/** @type {any} */ p) =>
                html`<label class="check"
                  ><input
                    type="radio"
                    name="to"
                    checked=${to?.id === p.id}
                    onChange=${() => setTo(p)} />
                  <span
                    ><${Text} value=${p.displayName ?? p.userName} />
                    <span class="small"><${Text} value=${p.userName} /></span></span
                ></label>`,
            )}
          </fieldset>`
        : q.length >= 2 && found.data
          ? html`<p class="soft">Nobody active of that name.</p>`
          : null
    }
    ${
      mayAct()
        ? html`<label class="check"
            ><input type="checkbox" checked=${isAtOnce} onChange=${() => setAtOnce(!isAtOnce)} /> At
            once, without asking them</label
          >`
        : null
    }
  <//>`
}
