// The certified relying party `openid-client`, as an application would use it: discovery, code with
// PKCE, refresh, userinfo, introspection, revocation, logout, and what must be refused.
//
// Settings: issuer, clientId, clientSecret (absent for a public client), authMethod (basic, post or
// none), redirectUri, postLogoutRedirectUri, user, password, email.
import * as client from 'openid-client'

import { Agent } from './agent.mjs'
import { check, expect, refused, same, settings } from './checks.mjs'

const { issuer, clientId, clientSecret, authMethod, redirectUri, user, password } = settings
const authentication = {
  basic: () => client.ClientSecretBasic(clientSecret),
  post: () => client.ClientSecretPost(clientSecret),
  none: () => client.None(),
}[authMethod]
const options = new URL(issuer).protocol === 'http:' ? { execute: [client.allowInsecureRequests] } : {}
const person = { redirectUri, user, password }

/** A fresh authorization request, and what its answer has to match. */
async function authorizationRequest(config, more = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const expectedNonce = client.randomNonce()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid profile email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...more,
  })
  return { url, checks: { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true } }
}

const config = await check('discovers the issuer', async () => {
  const found = await client.discovery(new URL(issuer), clientId, undefined, authentication(), options)
  const metadata = found.serverMetadata()
  same(metadata.issuer, issuer, 'issuer')
  expect(metadata.supportsPKCE('S256'), 'PKCE S256 is not advertised')
  expect(metadata.authorization_response_iss_parameter_supported === true, 'RFC 9207 is not advertised')
  for (const endpoint of ['authorization', 'token', 'userinfo', 'introspection', 'revocation', 'end_session']) {
    expect(metadata[`${endpoint}_endpoint`]?.startsWith(issuer), `no ${endpoint} endpoint below the issuer`)
  }
  return found
})

await check('finds the same metadata where RFC 8414 puts it', async () => {
  const found = await client.discovery(new URL(issuer), clientId, undefined, authentication(), {
    ...options,
    algorithm: 'oauth2',
  })
  same(found.serverMetadata().token_endpoint, config.serverMetadata().token_endpoint, 'token endpoint')
})

const agent = new Agent()
const first = await authorizationRequest(config)
const callback = await check('signs a person in with a form', async () => {
  const answer = await agent.authorize(first.url, person)
  expect(agent.shown.includes('sign-in'), `no sign-in page was shown: ${answer.search}`)
  same(answer.searchParams.get('iss'), issuer, 'iss of the authorization response')
  expect(answer.searchParams.has('code'), `no code: ${answer.search}`)
  return answer
})

await check('is refused the code with the wrong PKCE verifier', async () => {
  const wrong = { ...first.checks, pkceCodeVerifier: client.randomPKCECodeVerifier() }
  const error = await refused(() => client.authorizationCodeGrant(config, callback, wrong), 'the wrong verifier')
  same(error.error, 'invalid_grant', 'error')
})

const tokens = await check('exchanges the code and verifies the ID token', async () => {
  const answer = await client.authorizationCodeGrant(config, callback, first.checks)
  const claims = answer.claims()
  same(claims.iss, issuer, 'iss')
  same(claims.nonce, first.checks.expectedNonce, 'nonce')
  expect(claims.auth_time === undefined || claims.auth_time <= Math.floor(Date.now() / 1000) + 5, 'auth_time is in the future')
  same(answer.token_type, 'bearer', 'token type')
  expect(answer.expires_in > 0, 'no lifetime')
  expect(answer.refresh_token, 'offline_access gave no refresh token')
  return answer
})
const subject = tokens.claims().sub

await check('reads the person from userinfo', async () => {
  const claims = await client.fetchUserInfo(config, tokens.access_token, subject)
  if (settings.email) same(claims.email, settings.email, 'email')
  const posted = await fetch(config.serverMetadata().userinfo_endpoint, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokens.access_token}` },
  })
  same(posted.status, 200, 'status of POST')
  same((await posted.json()).sub, subject, 'sub of POST')
})

await check('is asked for a token when userinfo gets none, or a wrong one', async () => {
  const endpoint = config.serverMetadata().userinfo_endpoint
  const without = await fetch(endpoint)
  same(without.status, 401, 'status without a token')
  expect(/^Bearer/i.test(without.headers.get('www-authenticate') ?? ''), 'no Bearer challenge')
  const wrong = await fetch(endpoint, { headers: { authorization: `Bearer ${tokens.access_token}x` } })
  same(wrong.status, 401, 'status with a wrong token')
  expect((wrong.headers.get('www-authenticate') ?? '').includes('invalid_token'), 'no invalid_token')
})

if (authMethod !== 'none') {
  await check('introspects its access token', async () => {
    const answer = await client.tokenIntrospection(config, tokens.access_token)
    same(answer.active, true, 'active')
    same(answer.sub, subject, 'sub')
    same(answer.client_id, clientId, 'client_id')
  })

  await check('is refused with a wrong secret', async () => {
    const wrong = await client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      authMethod === 'basic' ? client.ClientSecretBasic('wrong') : client.ClientSecretPost('wrong'),
      options,
    )
    const error = await refused(() => client.refreshTokenGrant(wrong, tokens.refresh_token), 'a wrong secret')
    same(error.status, 401, 'status')
  })
}

const refreshed = await check('refreshes, with a new refresh token', async () => {
  const answer = await client.refreshTokenGrant(config, tokens.refresh_token)
  expect(answer.access_token !== tokens.access_token, 'the same access token again')
  if (settings.rotates !== false) expect(answer.refresh_token !== tokens.refresh_token, 'the same refresh token again')
  if (answer.claims()) same(answer.claims().sub, subject, 'sub')
  const claims = await client.fetchUserInfo(config, answer.access_token, subject)
  same(claims.sub, subject, 'sub of userinfo')
  return answer
})

await check('signs in again without a page, and with prompt=none', async () => {
  const before = agent.shown.length
  const request = await authorizationRequest(config, { prompt: 'none', scope: 'openid profile email' })
  const answer = await agent.authorize(request.url, person)
  same(agent.shown.length, before, 'pages shown')
  const silent = await client.authorizationCodeGrant(config, answer, request.checks)
  same(silent.claims().sub, subject, 'sub')
})

await check('shows the sign-in page again with prompt=login', async () => {
  const before = agent.shown.filter((page) => page === 'sign-in').length
  const request = await authorizationRequest(config, { prompt: 'login', scope: 'openid' })
  const answer = await agent.authorize(request.url, person)
  same(agent.shown.filter((page) => page === 'sign-in').length, before + 1, 'sign-in pages')
  await client.authorizationCodeGrant(config, answer, request.checks)
})

await check('gets login_required for a stranger with prompt=none', async () => {
  const request = await authorizationRequest(config, { prompt: 'none' })
  const answer = await new Agent().authorize(request.url, person)
  same(answer.searchParams.get('error'), 'login_required', 'error')
  same(answer.searchParams.get('state'), request.checks.expectedState, 'state')
  same(answer.searchParams.get('iss'), issuer, 'iss')
})

await check('revokes its refresh token, which then is refused', async () => {
  await client.tokenRevocation(config, refreshed.refresh_token)
  const error = await refused(() => client.refreshTokenGrant(config, refreshed.refresh_token), 'a revoked token')
  same(error.error, 'invalid_grant', 'error')
})

await check('loses everything of a code that is used twice', async () => {
  const request = await authorizationRequest(config)
  const answer = await agent.authorize(request.url, person)
  const once = await client.authorizationCodeGrant(config, answer, request.checks)
  const error = await refused(() => client.authorizationCodeGrant(config, answer, request.checks), 'a replayed code')
  same(error.error, 'invalid_grant', 'error')
  await refused(() => client.refreshTokenGrant(config, once.refresh_token), 'the refresh token of a replayed code')
  await refused(() => client.fetchUserInfo(config, once.access_token, subject), 'the access token of a replayed code')
})

await check('never sends anybody to an address that is not registered', async () => {
  const request = await authorizationRequest(config, { redirect_uri: 'https://evil.example/callback' })
  const answer = await new Agent().get(request.url)
  same(answer.location, null, 'redirect')
  expect(answer.status >= 400 && answer.status < 500, `status ${answer.status}`)
})

if (settings.postLogoutRedirectUri) {
  await check('signs the person out and comes back', async () => {
    const url = client.buildEndSessionUrl(config, {
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: settings.postLogoutRedirectUri,
      state: 'out',
    })
    let answer = await agent.get(url)
    for (let step = 0; answer.location && !answer.location.href.startsWith(settings.postLogoutRedirectUri); step += 1) {
      expect(step < 10, 'too many redirects')
      answer = await agent.get(answer.location)
    }
    expect(answer.location, `${answer.status}: no redirect to the application`)
    same(answer.location.searchParams.get('state'), 'out', 'state')
    const request = await authorizationRequest(config, { prompt: 'none' })
    const after = await agent.authorize(request.url, person)
    same(after.searchParams.get('error'), 'login_required', 'error after sign-out')
  })
}
