// A browser without pictures: follows redirects, keeps cookies, fills in the sign-in and consent forms.

/** One person's browser. */
export class Agent {
  #cookies = new Map()

  /** The pages that were shown, in order. */
  shown = []

  /**
   * Follows an authorization request through sign-in and consent until it redirects to `redirectUri`.
   * Returns that URL, with the answer in its query.
   */
  async authorize(url, { redirectUri, user, password, decision = 'allow' }) {
    let answer = await this.#fetch(new URL(url))
    for (let step = 0; step < 20; step += 1) {
      if (answer.location) {
        if (answer.location.href.startsWith(redirectUri)) return answer.location
        answer = await this.#fetch(answer.location)
        continue
      }
      const forms = parseForms(answer.body)
      const signIn = forms.find((form) => 'password' in form.fields)
      const consent = forms.find((form) => form.buttons.some((button) => button.name === 'decision'))
      if (signIn) {
        if (this.shown.filter((page) => page === 'sign-in').length > 1) throw new Error('the sign-in page came again')
        this.shown.push('sign-in')
        answer = await this.#submit(answer.url, signIn, { username: user, password })
      } else if (consent) {
        this.shown.push('consent')
        answer = await this.#submit(answer.url, consent, { decision })
      } else {
        throw new Error(`${answer.status} at ${answer.url}: neither a form nor a redirect: ${text(answer.body)}`)
      }
    }
    throw new Error('too many steps')
  }

  /** One request, without following a redirect. */
  async get(url) {
    return this.#fetch(new URL(url))
  }

  async #submit(page, form, values) {
    const body = new URLSearchParams({ ...form.fields, ...values })
    return this.#fetch(new URL(form.action, page), body)
  }

  async #fetch(url, body) {
    const headers = { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ') }
    if (body) headers.origin = url.origin
    const response = await fetch(url, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' })
    for (const cookie of response.headers.getSetCookie()) {
      const [pair, ...attributes] = cookie.split(';')
      const at = pair.indexOf('=')
      const expired = attributes.some((attribute) => /^\s*max-age=0$/i.test(attribute)) || pair.length === at + 1
      if (expired) this.#cookies.delete(pair.slice(0, at))
      else this.#cookies.set(pair.slice(0, at), pair.slice(at + 1))
    }
    const location = response.headers.get('location')
    return {
      url,
      status: response.status,
      location: location && response.status >= 300 && response.status < 400 ? new URL(location, url) : null,
      body: await response.text(),
    }
  }
}

/** The forms of a page: where they go, their fields with values, and their buttons. */
export function parseForms(html) {
  return [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(([, attributes, inside]) => {
    const fields = {}
    for (const [, input] of inside.matchAll(/<input\b([^>]*)>/gi)) {
      const name = attribute(input, 'name')
      if (name) fields[name] = attribute(input, 'value') ?? ''
    }
    const buttons = [...inside.matchAll(/<button\b([^>]*)>/gi)].map(([, button]) => ({
      name: attribute(button, 'name'),
      value: attribute(button, 'value'),
    }))
    return { action: attribute(attributes, 'action') ?? '', fields, buttons }
  })
}

function attribute(tag, name) {
  const found = tag.match(new RegExp(`(?:^|\\s)${name}="([^"]*)"`, 'i'))
  return found ? unescape(found[1]) : null
}

function unescape(value) {
  const named = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return value.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (decimal) return String.fromCodePoint(Number(decimal))
    if (hex) return String.fromCodePoint(parseInt(hex, 16))
    return named[name] ?? whole
  })
}

function text(html) {
  return html.replace(/<(style|script)\b.*?<\/\1>/gis, ' ').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim().slice(0, 300)
}
