# العربية.

continue-to = للمتابعة إلى { $application }
not-you = لست أنت؟
signed-in-as = مسجّل الدخول باسم
help = المساعدة
privacy = الخصوصية
terms = الشروط
wait-minutes = { $minutes ->
    [one] دقيقة واحدة
    [two] دقيقتين
    [few] { $minutes } دقائق
    [many] { $minutes } دقيقة
   *[other] { $minutes } دقيقة
}

## تسجيل الدخول

login-title = تسجيل الدخول
login-again-title = تأكيد هويتك
login-again-lead = أدخل كلمة المرور مرة أخرى للمتابعة.
login-button = تسجيل الدخول
identifier-username = اسم المستخدم
identifier-email = البريد الإلكتروني
identifier-phone = رقم الهاتف
identifier-username-or-email = اسم المستخدم أو البريد الإلكتروني
identifier-username-or-phone = اسم المستخدم أو رقم الهاتف
identifier-email-or-phone = البريد الإلكتروني أو رقم الهاتف
identifier-any = اسم المستخدم أو البريد الإلكتروني أو رقم الهاتف
password = كلمة المرور
password-show = إظهار كلمة المرور
wrong-credentials = تعذّر تسجيل الدخول بهذا الحساب وكلمة المرور. تحقّق منهما وحاول مرة أخرى.
wrong-password = كلمة المرور لا تطابق هذا الحساب. تحقّق منها وحاول مرة أخرى.
missing-identifier = أدخل اسم حسابك.
missing-password = أدخل كلمة المرور.
login-expired = بقيت هذه الصفحة مفتوحة لفترة طويلة. يُرجى تسجيل الدخول مرة أخرى.
too-many-attempts = محاولات كثيرة جدًا. انتظر { $time } ثم حاول مرة أخرى.

## الموافقة

consent-title = السماح بالوصول
consent-heading = هل تسمح لتطبيق { $application } باستخدام حسابك؟
consent-lead = يطلب التطبيق الإذن بما يلي:
consent-new = جديد
consent-note = لن يرى { $application } كلمة مرورك أبدًا.
consent-policy = سياسة الخصوصية
consent-terms = شروط الخدمة
consent-allow = السماح
consent-deny = عدم السماح
scope-openid = معرفة هويتك
scope-profile = الاطّلاع على اسمك وملفك الشخصي
scope-email = الاطّلاع على بريدك الإلكتروني
scope-address = الاطّلاع على عنوانك البريدي
scope-phone = الاطّلاع على رقم هاتفك
scope-offline-access = الاحتفاظ بهذا الوصول في غيابك
scope-other = استخدام «{ $scope }»

## اختيار الحساب

choose-title = اختيار حساب
choose-continue = المتابعة باسم
choose-other = استخدام حساب آخر

## تسجيل الخروج

logout-title = تسجيل الخروج
logout-heading = هل تريد تسجيل الخروج من { $realm }؟
logout-lead = قد تطلب منك التطبيقات المفتوحة تسجيل الدخول من جديد.
logout-asked = طلب { $application } تسجيل خروجك.
logout-button = تسجيل الخروج
logout-stay = البقاء مسجّل الدخول
logged-out-title = تم تسجيل خروجك
logged-out-lead = انتهت جلستك في { $realm }. إذا كان الجهاز مشتركًا فأغلق المتصفح أيضًا.
logged-out-continue = المتابعة إلى { $application }

## العودة إلى التطبيق

form-post-title = جارٍ نقلك إلى { $application }
form-post-lead = إذا لم يحدث شيء فاضغط على الزر.
continue = متابعة

## الأخطاء

error-redirect-uri = رابط تسجيل الدخول هذا غير آمن
error-redirect-uri-what = طلب التطبيق إرسالك إلى عنوان غير مسجّل له، لذلك توقفنا هنا.
error-redirect-uri-do = عُد إلى التطبيق وحاول مرة أخرى. إذا تكرر ذلك فأخبر القائمين عليه.
error-unknown-client = لا نعرف هذا التطبيق
error-unknown-client-what = يشير الرابط الذي اتبعته إلى تطبيق غير مسجّل هنا.
error-unknown-client-do = تحقّق من الرابط أو اسأل القائمين على التطبيق.
error-invalid-request = أرسل التطبيق طلبًا لا يمكننا قراءته
error-invalid-request-what = في طلب تسجيل الدخول شيء ناقص أو غير صحيح، لذلك توقفنا هنا.
error-invalid-request-do = عُد إلى التطبيق وحاول مرة أخرى. إذا تكرر ذلك فأخبر القائمين عليه.
error-expired = انتهت صلاحية هذه الصفحة
error-expired-what = بقيت مفتوحة لفترة طويلة، أو أنك تابعت في علامة تبويب أخرى.
error-expired-do = ابدأ من جديد من التطبيق. لم تفقد شيئًا.
error-cookies = حظر متصفحك ملف تعريف الارتباط
error-cookies-what = نحتاج إلى ملف تعريف ارتباط واحد لتسجيل دخولك بأمان، ولم يُعِده متصفحك.
error-cookies-do = اسمح بملفات تعريف الارتباط لهذا الموقع، ثم ابدأ من جديد من التطبيق.
error-access-denied = ليس لديك حق الوصول
error-access-denied-what = حسابك سليم، لكن لا يُسمح له باستخدام هذا التطبيق.
error-access-denied-do = اطلب الوصول من القائمين على التطبيق، أو سجّل الدخول بحساب آخر.
error-not-found = لا يوجد شيء هنا
error-not-found-what = لا توجد صفحة تسجيل دخول في هذا العنوان.
error-not-found-do = تحقّق من العنوان أو عُد إلى التطبيق الذي جئت منه.
error-too-many = طلبات كثيرة جدًا
error-too-many-what = توقفنا قليلًا حفاظًا على أمان الحسابات. انتظر { $time } ثم حاول مرة أخرى.
error-unavailable = لا يمكننا تسجيل دخولك الآن
error-unavailable-what = جزء من هذه الخدمة لا يستجيب. نعمل على إصلاحه، وحسابك آمن.
error-unavailable-do = انتظر قليلًا ثم حاول مرة أخرى.
error-internal = حدث خطأ من جانبنا
error-internal-what = ليس الخطأ منك، وحسابك آمن.
error-internal-do = حاول مرة أخرى. إذا تكرر ذلك فأخبر الدعم برقم الخطأ أدناه.
error-id = رقم الخطأ
error-details = تفاصيل للقائمين على التطبيق
back-to-application = العودة إلى { $application }
start-again = البدء من جديد
try-again = إعادة المحاولة
