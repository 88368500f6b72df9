# Deutsch.

continue-to = weiter zu { $application }
not-you = Nicht Sie?
signed-in-as = Angemeldet als
help = Hilfe
privacy = Datenschutz
terms = Nutzungsbedingungen
wait-minutes = { $minutes ->
    [one] 1 Minute
   *[other] { $minutes } Minuten
}

## Anmelden

login-title = Anmelden
login-again-title = Bitte bestätigen Sie Ihre Anmeldung
login-again-lead = Geben Sie Ihr Passwort noch einmal ein, um fortzufahren.
login-button = Anmelden
identifier-username = Benutzername
identifier-email = E-Mail-Adresse
identifier-phone = Telefonnummer
identifier-username-or-email = Benutzername oder E-Mail-Adresse
identifier-username-or-phone = Benutzername oder Telefonnummer
identifier-email-or-phone = E-Mail-Adresse oder Telefonnummer
identifier-any = Benutzername, E-Mail-Adresse oder Telefonnummer
password = Passwort
password-show = Passwort anzeigen
wrong-credentials = Die Anmeldung mit diesem Konto und Passwort hat nicht geklappt. Prüfen Sie beides und versuchen Sie es noch einmal.
wrong-password = Das Passwort passt nicht zu diesem Konto. Prüfen Sie es und versuchen Sie es noch einmal.
missing-identifier = Geben Sie den Namen Ihres Kontos ein.
missing-password = Geben Sie Ihr Passwort ein.
login-expired = Diese Seite war lange geöffnet. Bitte melden Sie sich noch einmal an.
too-many-attempts = Zu viele Versuche. Warten Sie { $time } und versuchen Sie es dann noch einmal.

## Zustimmung

consent-title = Zugriff erlauben
consent-heading = Darf { $application } Ihr Konto verwenden?
consent-lead = Die Anwendung möchte:
consent-new = Neu
consent-note = { $application } sieht Ihr Passwort nie.
consent-policy = Datenschutzerklärung
consent-terms = Nutzungsbedingungen
consent-allow = Erlauben
consent-deny = Nicht erlauben
scope-openid = wissen, wer Sie sind
scope-profile = Ihren Namen und Ihr Profil sehen
scope-email = Ihre E-Mail-Adresse sehen
scope-address = Ihre Postanschrift sehen
scope-phone = Ihre Telefonnummer sehen
scope-offline-access = diesen Zugriff behalten, auch wenn Sie nicht da sind
scope-other = „{ $scope }“ verwenden

## Kontoauswahl

choose-title = Konto auswählen
choose-continue = Weiter als
choose-other = Anderes Konto verwenden

## Abmelden

logout-title = Abmelden
logout-heading = Von { $realm } abmelden?
logout-lead = Geöffnete Anwendungen können Sie danach bitten, sich neu anzumelden.
logout-asked = { $application } möchte Sie abmelden.
logout-button = Abmelden
logout-stay = Angemeldet bleiben
logged-out-title = Sie sind abgemeldet
logged-out-lead = Ihre Sitzung bei { $realm } ist beendet. Schließen Sie auf einem gemeinsam genutzten Gerät auch den Browser.
logged-out-continue = Weiter zu { $application }

## Zurück zur Anwendung

form-post-title = Weiter zu { $application }
form-post-lead = Falls nichts geschieht, drücken Sie den Knopf.
continue = Weiter

## Fehler

error-redirect-uri = Diesem Anmeldelink zu folgen ist nicht sicher
error-redirect-uri-what = Die Anwendung wollte Sie an eine Adresse schicken, die für sie nicht registriert ist. Deshalb haben wir hier angehalten.
error-redirect-uri-do = Gehen Sie zurück zur Anwendung und versuchen Sie es noch einmal. Wenn es wieder geschieht, wenden Sie sich an deren Betreiber.
error-unknown-client = Wir kennen diese Anwendung nicht
error-unknown-client-what = Der Link nennt eine Anwendung, die hier nicht registriert ist.
error-unknown-client-do = Prüfen Sie den Link oder fragen Sie die Betreiber der Anwendung.
error-invalid-request = Die Anfrage der Anwendung ist nicht lesbar
error-invalid-request-what = In der Anmeldeanfrage fehlt etwas, oder etwas ist falsch. Deshalb haben wir hier angehalten.
error-invalid-request-do = Gehen Sie zurück zur Anwendung und versuchen Sie es noch einmal. Wenn es wieder geschieht, wenden Sie sich an deren Betreiber.
error-expired = Diese Seite ist abgelaufen
error-expired-what = Sie war zu lange geöffnet, oder Sie haben in einem anderen Tab weitergemacht.
error-expired-do = Beginnen Sie noch einmal bei der Anwendung. Es ist nichts verloren.
error-cookies = Ihr Browser hat unser Cookie blockiert
error-cookies-what = Für eine sichere Anmeldung brauchen wir ein Cookie, und Ihr Browser hat es nicht zurückgeschickt.
error-cookies-do = Erlauben Sie Cookies für diese Seite und beginnen Sie noch einmal bei der Anwendung.
error-access-denied = Sie haben keinen Zugriff
error-access-denied-what = Ihr Konto ist in Ordnung, darf diese Anwendung aber nicht verwenden.
error-access-denied-do = Bitten Sie die Betreiber der Anwendung um Zugriff, oder melden Sie sich mit einem anderen Konto an.
error-not-found = Hier gibt es nichts
error-not-found-what = Unter dieser Adresse gibt es keine Anmeldeseite.
error-not-found-do = Prüfen Sie die Adresse oder gehen Sie zurück zur Anwendung, von der Sie kommen.
error-too-many = Zu viele Anfragen
error-too-many-what = Zum Schutz der Konten machen wir eine kurze Pause. Warten Sie { $time } und versuchen Sie es dann noch einmal.
error-unavailable = Die Anmeldung ist gerade nicht möglich
error-unavailable-what = Ein Teil dieses Dienstes antwortet nicht. Wir kümmern uns darum, und Ihr Konto ist sicher.
error-unavailable-do = Warten Sie einen Moment und versuchen Sie es dann noch einmal.
error-internal = Bei uns ist etwas schiefgegangen
error-internal-what = Es liegt nicht an Ihnen, und Ihr Konto ist sicher.
error-internal-do = Versuchen Sie es noch einmal. Wenn es wieder geschieht, nennen Sie dem Support die Fehlernummer.
error-id = Fehlernummer
error-details = Angaben für die Betreiber der Anwendung
back-to-application = Zurück zu { $application }
start-again = Neu beginnen
try-again = Noch einmal versuchen
