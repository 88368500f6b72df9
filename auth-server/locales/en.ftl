# English, the fallback of every other language. A message has at most one value.

continue-to = to continue to { $application }
not-you = Not you?
signed-in-as = Signed in as
help = Help
privacy = Privacy
terms = Terms
wait-minutes = { $minutes ->
    [one] 1 minute
   *[other] { $minutes } minutes
}

## Sign-in

login-title = Sign in
login-again-title = Confirm it’s you
login-again-lead = Enter your password again to go on.
login-button = Sign in
identifier-username = Username
identifier-email = E-mail address
identifier-phone = Phone number
identifier-username-or-email = Username or e-mail address
identifier-username-or-phone = Username or phone number
identifier-email-or-phone = E-mail address or phone number
identifier-any = Username, e-mail address or phone number
password = Password
password-show = Show password
wrong-credentials = We couldn’t sign you in with that account and password. Check both and try again.
wrong-password = That password doesn’t match this account. Check it and try again.
missing-identifier = Enter the name of your account.
missing-password = Enter your password.
login-expired = This page was open for a long time. Please sign in again.
too-many-attempts = Too many attempts. Wait { $time }, then try again.

## Consent

consent-title = Allow access
consent-heading = Allow { $application } to use your account?
consent-lead = It asks for permission to:
consent-new = New
consent-note = { $application } never sees your password.
consent-policy = Privacy policy
consent-terms = Terms of service
consent-allow = Allow
consent-deny = Don’t allow
scope-openid = Know who you are
scope-profile = See your name and profile
scope-email = See your e-mail address
scope-address = See your postal address
scope-phone = See your phone number
scope-offline-access = Keep this access while you are away
scope-other = Use “{ $scope }”

## Account choice

choose-title = Choose an account
choose-continue = Continue as
choose-other = Use another account

## Sign-out

logout-title = Sign out
logout-heading = Sign out of { $realm }?
logout-lead = Applications you opened may ask you to sign in again.
logout-asked = { $application } asked to sign you out.
logout-button = Sign out
logout-stay = Stay signed in
logged-out-title = You are signed out
logged-out-lead = Your session with { $realm } has ended. On a shared device, close the browser too.
logged-out-continue = Continue to { $application }

## Back to the application

form-post-title = Taking you to { $application }
form-post-lead = If nothing happens, press the button.
continue = Continue

## Errors

error-redirect-uri = This sign-in link isn’t safe to follow
error-redirect-uri-what = The application asked us to send you to an address that isn’t registered for it, so we stopped here.
error-redirect-uri-do = Go back to the application and try again. If it happens again, tell the people who run it.
error-unknown-client = We don’t know this application
error-unknown-client-what = The link you followed names an application that isn’t registered here.
error-unknown-client-do = Check the link, or ask the people who run the application.
error-invalid-request = The application sent a request we can’t read
error-invalid-request-what = Something in the sign-in request is missing or wrong, so we stopped here.
error-invalid-request-do = Go back to the application and try again. If it happens again, tell the people who run it.
error-expired = This page has expired
error-expired-what = It was open for too long, or you already went on in another tab.
error-expired-do = Start again from the application. Nothing was lost.
error-cookies = Your browser blocked our cookie
error-cookies-what = We need one cookie to sign you in safely, and your browser didn’t send it back.
error-cookies-do = Allow cookies for this site, then start again from the application.
error-access-denied = You don’t have access
error-access-denied-what = Your account is fine, but it may not use this application.
error-access-denied-do = Ask the people who run the application for access, or sign in with another account.
error-not-found = There is nothing here
error-not-found-what = No sign-in page lives at this address.
error-not-found-do = Check the address, or go back to the application you came from.
error-too-many = Too many requests
error-too-many-what = To keep accounts safe we paused for a moment. Wait { $time }, then try again.
error-unavailable = We can’t sign you in right now
error-unavailable-what = A part of this service is not answering. We are on it, and your account is safe.
error-unavailable-do = Wait a moment, then try again.
error-internal = Something went wrong on our side
error-internal-what = It isn’t your fault, and your account is safe.
error-internal-do = Try again. If it happens again, tell support the error ID below.
error-id = Error ID
error-details = Details for the people who run the application
back-to-application = Back to { $application }
start-again = Start again
try-again = Try again
