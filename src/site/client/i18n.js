// The languages: the texts in English and Arabic, the direction, numbers and times.
//
// Invariant: a key that is missing in one language falls back to English, never to an empty control.

import { local } from './util.js';

const DAY_MS = 86_400_000;

const en = {
  'app.tagline': 'Your conversations, on your own server.',
  'app.loading': 'Loading…',
  'error.general': 'Something went wrong. Try again.',
  'error.offline': 'The server cannot be reached.',
  'error.signed_out': 'You are signed out.',
  'error.passwords_differ': 'The passwords differ.',
  'error.file_large': '“{name}” is larger than {size}.',
  'error.file_empty': '“{name}” is empty.',
  'error.load': 'This could not be loaded.',
  'error.gone': 'This conversation does not exist',
  'retry': 'Try again', 'cancel': 'Cancel', 'save': 'Save', 'close': 'Close', 'back': 'Back', 'done': 'Done',
  'conn.online': 'Connected', 'conn.connecting': 'Connecting…', 'conn.offline': 'Offline. Messages wait here and are sent automatically.',
  'conn.offline_short': 'Offline',
  'auth.sign_in': 'Sign in', 'auth.sign_up': 'Create account', 'auth.email': 'E-mail', 'auth.password': 'Password',
  'auth.name': 'Your name', 'auth.password_hint': 'At least 8 characters.',
  'auth.welcome': 'Welcome back', 'auth.forgot': 'Forgot password?',
  'auth.no_account': 'New here?', 'auth.have_account': 'Already have an account?',
  'auth.ended': 'Your session has ended. Sign in again; unsent messages are kept.',
  'auth.show': 'Show password', 'auth.hide': 'Hide password',
  'reset.title': 'Reset your password', 'reset.lead': 'Enter the e-mail address of your account, and ask for a code.', 'reset.send': 'Ask for a code',
  'reset.lead2': 'If {email} has an account, a code is on its way. It is valid for 5 minutes.',
  'reset.lead2_file': 'If {email} has an account, its code is in this server’s mailbox file (mail.mbox): ask the person who runs the server. It is valid for 5 minutes.', 'reset.code': 'Code',
  'reset.set': 'Set password', 'reset.done': 'Password changed. Sign in with the new one.',
  'verify.title': 'Verify your e-mail', 'verify.lead': 'We sent a 6-digit code to {email}.',
  'verify.lead_file': 'This server sends no mail. The 6-digit code for {email} is in its mailbox file (mail.mbox): ask the person who runs the server.',
  'verify.lead_none': 'Enter a 6-digit code that you have for {email}, or ask for a new one.', 'verify.check': 'Verify',
  'verify.again': 'Ask for a new code', 'verify.later': 'Later',
  'verify.banner': 'Verify your e-mail address', 'verify.not_yet': 'Not verified',
  'signout': 'Sign out', 'signout.unsent': 'Messages that are not sent yet will be lost.', 'error.files_many': 'A message can have at most {count} files.',
  'list.title': 'Chats', 'list.search': 'Search people and messages', 'list.new': 'New conversation',
  'list.empty': 'No conversations yet', 'list.empty_more': 'Find someone by name, or start a group.',
  'list.unread': { one: '{count} unread message', other: '{count} unread messages' }, 'list.muted': 'Muted', 'list.you': 'You: {text}',
  'list.no_messages': 'No messages yet',
  'search.chats': 'Conversations', 'search.people': 'People', 'search.messages': 'Messages', 'search.none': 'Nothing found for “{q}”',
  'search.incomplete': 'The search index is being built; results may be incomplete.',
  'search.here': 'Search in this conversation',
  'empty.title': 'Pick a conversation', 'empty.more': 'Or start a new one. Everything you write is kept on your server.',
  'preview.photo': 'Photo',
  'people.deleted': 'Deleted account', 'people.you': 'You', 'people.online': 'Online', 'people.seen': 'Last seen {when}',
  'people.members': { one: '{count} member', other: '{count} members' },
  'typing.one': '{name} is typing…', 'typing.many': '{names} are typing…', 'typing.short': 'typing…',
  'chat.messages': 'Messages with {name}', 'chat.start': 'The conversation begins here.',
  'chat.new': 'New messages', 'chat.latest': 'Go to the latest message',
  'chat.new_count': { one: '{count} new message', other: '{count} new messages' }, 'chat.details': 'Details', 'chat.loading_older': 'Loading earlier messages',
  'chat.blocked': 'You blocked {name}.', 'chat.drop': 'Drop files to attach them', 'chat.gone_quote': 'Original message not available',
  'msg.sending': 'Sending', 'msg.waiting': 'Waiting for the connection', 'msg.sent': 'Sent', 'msg.read': 'Read', 'msg.failed': 'Not sent', 'msg.edited': 'edited',
  'msg.deleted': 'This message was deleted', 'msg.damaged': 'This message can no longer be read', 'msg.discard': 'Discard', 'msg.reply': 'Reply', 'msg.react': 'React', 'msg.edit': 'Edit',
  'msg.delete': 'Delete', 'msg.copy': 'Copy text', 'msg.more': 'More', 'msg.actions': 'Message actions',
  'msg.delete_title': 'Delete this message?', 'msg.delete_more': 'Its text and files are erased for everyone.',
  'msg.reaction': '{emoji}, {count}: {names}', 'msg.uploading': 'Uploading {percent}%', 'msg.from': '{name}, {time}', 'msg.jump': 'Go to the original message',
  'compose.label': 'Write a message', 'compose.send': 'Send', 'compose.attach': 'Attach files', 'compose.reply': 'Replying to {name}',
  'compose.edit': 'Editing your message', 'compose.remove': 'Remove {name}', 'compose.files': 'Files to send', 'compose.save': 'Save the change',
  'file.download': 'Download {name}', 'file.open': 'Open picture {name}',
  'new.search': 'Name or nick name', 'new.group': 'New group', 'new.hint': 'Type at least two letters of a name.', 'new.none': 'No one found',
  'new.group_title': 'Group name', 'new.group_members': 'Members', 'new.create': 'Create group', 'new.remove': 'Remove {name}',
  'info.mute': 'Mute', 'info.unmute': 'Unmute', 'info.block': 'Block', 'info.unblock': 'Unblock', 'info.leave': 'Leave group',
  'info.leave_title': 'Leave “{name}”?', 'info.add': 'Add people', 'info.rename': 'Rename',
  'info.image': 'Change picture', 'info.image_remove': 'Remove picture', 'info.admin': 'Admin', 'info.make_admin': 'Make admin', 'info.drop_admin': 'Remove as admin', 'info.remove': 'Remove from group',
  'info.block_title': 'Block {name}?', 'info.block_more': 'Neither of you can write to the other, or see when the other is online.', 'info.message': 'Message', 'info.member_actions': 'Actions for {name}',
  'set.title': 'Settings', 'set.profile': 'Profile', 'set.account': 'Account', 'set.devices': 'Devices', 'set.look': 'Appearance', 'set.privacy': 'Privacy',
  'set.nick': 'Nick name', 'set.nick_hint': '3 to 25 of a–z, 0–9, dot and underscore.',
  'set.private': 'Private profile', 'set.private_hint': 'Not found by search. Others do not see when you are online.', 'set.presence': 'Show when I am online', 'set.presence_hint': 'Read marks, too. If you hide yours, you do not see those of others.',
  'set.password': 'Change password', 'set.old_password': 'Current password', 'set.new_password': 'New password', 'set.repeat_password': 'Repeat it', 'set.password_done': 'Password changed. Your other devices are signed out.',
  'set.delete': 'Delete account', 'set.delete_title': 'Delete your account?', 'set.delete_more': 'Your profile, e-mail and files are erased. This cannot be undone.',
  'set.delete_messages': 'Delete my messages, too', 'set.this_device': 'This device', 'set.revoke_name': 'Sign out {name}', 'set.revoke_all': 'Sign out all other devices', 'set.active': 'Active {when}',
  'set.theme': 'Theme', 'set.theme_system': 'System', 'set.theme_light': 'Light', 'set.theme_dark': 'Dark', 'set.lang': 'Language',

};

// A text with a number has up to six plural forms.
const ar = {
  'app.tagline': 'محادثاتك على خادمك أنت.',
  'app.loading': 'جارٍ التحميل…',
  'error.general': 'حدث خطأ ما. حاول مرة أخرى.',
  'error.offline': 'لا يمكن الوصول إلى الخادم.',
  'error.signed_out': 'لقد سُجّل خروجك.',
  'error.passwords_differ': 'كلمتا المرور مختلفتان.',
  'error.file_large': '«{name}» أكبر من {size}.',
  'error.file_empty': '«{name}» فارغ.',
  'error.load': 'تعذّر التحميل.',
  'error.gone': 'هذه المحادثة غير موجودة',
  'retry': 'إعادة المحاولة', 'cancel': 'إلغاء', 'save': 'حفظ', 'close': 'إغلاق', 'back': 'رجوع', 'done': 'تم ذلك',
  'conn.online': 'متصل', 'conn.connecting': 'جارٍ الاتصال…', 'conn.offline': 'غير متصل. تنتظر الرسائل هنا وتُرسل تلقائيًا.',
  'conn.offline_short': 'غير متصل',
  'auth.sign_in': 'تسجيل الدخول', 'auth.sign_up': 'إنشاء حساب', 'auth.email': 'البريد الإلكتروني', 'auth.password': 'كلمة المرور',
  'auth.name': 'اسمك', 'auth.password_hint': '8 أحرف على الأقل.',
  'auth.welcome': 'مرحبًا بعودتك', 'auth.forgot': 'نسيت كلمة المرور؟',
  'auth.no_account': 'جديد هنا؟', 'auth.have_account': 'لديك حساب؟',
  'auth.ended': 'انتهت جلستك. سجّل الدخول مجددًا؛ الرسائل غير المرسلة محفوظة.',
  'auth.show': 'إظهار كلمة المرور', 'auth.hide': 'إخفاء كلمة المرور',
  'reset.title': 'إعادة تعيين كلمة المرور', 'reset.lead': 'أدخل عنوان بريد حسابك واطلب رمزًا.', 'reset.send': 'طلب رمز',
  'reset.lead2': 'إن كان للعنوان {email} حساب فالرمز في الطريق، وهو صالح لخمس دقائق.',
  'reset.lead2_file': 'إن كان للعنوان {email} حساب فرمزه في ملف بريد الخادم (mail.mbox): اسأل من يدير الخادم. وهو صالح لخمس دقائق.', 'reset.code': 'الرمز',
  'reset.set': 'تعيين كلمة المرور', 'reset.done': 'تغيّرت كلمة المرور. سجّل الدخول بالجديدة.',
  'verify.title': 'تحقّق من بريدك', 'verify.lead': 'أرسلنا رمزًا من 6 أرقام إلى {email}.',
  'verify.lead_file': 'هذا الخادم لا يرسل بريدًا. الرمز المكوّن من 6 أرقام للعنوان {email} في ملف بريده (mail.mbox): اسأل من يدير الخادم.',
  'verify.lead_none': 'أدخل رمزًا من 6 أرقام لديك للعنوان {email}، أو اطلب رمزًا جديدًا.', 'verify.check': 'تحقّق',
  'verify.again': 'طلب رمز جديد', 'verify.later': 'لاحقًا',
  'verify.banner': 'تحقّق من عنوان بريدك', 'verify.not_yet': 'لم يُتحقق منه',
  'signout': 'تسجيل الخروج', 'signout.unsent': 'ستُفقد الرسائل التي لم تُرسل بعد.', 'error.files_many': 'أقصى عدد للملفات في الرسالة {count}.',
  'list.title': 'المحادثات', 'list.search': 'ابحث في الأشخاص والرسائل', 'list.new': 'محادثة جديدة',
  'list.empty': 'لا محادثات بعد', 'list.empty_more': 'ابحث عن شخص باسمه، أو أنشئ مجموعة.',
  'list.unread': { zero: 'لا رسائل غير مقروءة', one: 'رسالة غير مقروءة', two: 'رسالتان غير مقروءتين', few: '{count} رسائل غير مقروءة', other: '{count} رسالة غير مقروءة' },
  'list.muted': 'مكتومة', 'list.you': 'أنت: {text}', 'list.no_messages': 'لا رسائل بعد',
  'search.chats': 'المحادثات', 'search.people': 'الأشخاص', 'search.messages': 'الرسائل', 'search.none': 'لا نتائج عن «{q}»',
  'search.incomplete': 'يجري بناء فهرس البحث؛ قد تكون النتائج غير كاملة.',
  'search.here': 'ابحث في هذه المحادثة',
  'empty.title': 'اختر محادثة', 'empty.more': 'أو ابدأ واحدة جديدة. كل ما تكتبه محفوظ على خادمك.',
  'preview.photo': 'صورة',
  'people.deleted': 'حساب محذوف', 'people.you': 'أنت', 'people.online': 'متصل الآن', 'people.seen': 'آخر ظهور {when}',
  'people.members': { zero: 'لا أعضاء', one: 'عضو واحد', two: 'عضوان', few: '{count} أعضاء', many: '{count} عضوًا', other: '{count} عضو' },
  'typing.one': '{name} يكتب…', 'typing.many': '{names} يكتبون…', 'typing.short': 'يكتب…',
  'chat.messages': 'الرسائل مع {name}', 'chat.start': 'تبدأ المحادثة هنا.',
  'chat.new': 'رسائل جديدة', 'chat.latest': 'انتقل إلى أحدث رسالة',
  'chat.new_count': { one: 'رسالة جديدة', two: 'رسالتان جديدتان', few: '{count} رسائل جديدة', other: '{count} رسالة جديدة' }, 'chat.details': 'التفاصيل', 'chat.loading_older': 'جارٍ تحميل رسائل أقدم',
  'chat.blocked': 'لقد حظرت {name}.', 'chat.drop': 'أفلت الملفات لإرفاقها', 'chat.gone_quote': 'الرسالة الأصلية غير متاحة',
  'msg.sending': 'جارٍ الإرسال', 'msg.waiting': 'بانتظار الاتصال', 'msg.sent': 'أُرسلت', 'msg.read': 'قُرئت', 'msg.failed': 'لم تُرسل', 'msg.edited': 'معدّلة',
  'msg.deleted': 'حُذفت هذه الرسالة', 'msg.damaged': 'لم يعد من الممكن قراءة هذه الرسالة', 'msg.discard': 'تجاهل', 'msg.reply': 'رد', 'msg.react': 'تفاعل', 'msg.edit': 'تعديل',
  'msg.delete': 'حذف', 'msg.copy': 'نسخ النص', 'msg.more': 'المزيد', 'msg.actions': 'إجراءات الرسالة',
  'msg.delete_title': 'حذف هذه الرسالة؟', 'msg.delete_more': 'يُمحى نصها وملفاتها لدى الجميع.',
  'msg.reaction': '{emoji}، {count}: {names}', 'msg.uploading': 'جارٍ الرفع {percent}٪', 'msg.from': '{name}، {time}', 'msg.jump': 'انتقل إلى الرسالة الأصلية',
  'compose.label': 'اكتب رسالة', 'compose.send': 'إرسال', 'compose.attach': 'إرفاق ملفات', 'compose.reply': 'رد على {name}',
  'compose.edit': 'تعديل رسالتك', 'compose.remove': 'إزالة {name}', 'compose.files': 'ملفات للإرسال', 'compose.save': 'حفظ التعديل',
  'file.download': 'تنزيل {name}', 'file.open': 'فتح الصورة {name}',
  'new.search': 'الاسم أو الاسم المستعار', 'new.group': 'مجموعة جديدة', 'new.hint': 'اكتب حرفين على الأقل من الاسم.', 'new.none': 'لم يُعثر على أحد',
  'new.group_title': 'اسم المجموعة', 'new.group_members': 'الأعضاء', 'new.create': 'إنشاء المجموعة', 'new.remove': 'إزالة {name}',
  'info.mute': 'كتم', 'info.unmute': 'إلغاء الكتم', 'info.block': 'حظر', 'info.unblock': 'إلغاء الحظر', 'info.leave': 'مغادرة المجموعة',
  'info.leave_title': 'مغادرة «{name}»؟', 'info.add': 'إضافة أشخاص', 'info.rename': 'إعادة التسمية',
  'info.image': 'تغيير الصورة', 'info.image_remove': 'إزالة الصورة', 'info.admin': 'مشرف', 'info.make_admin': 'تعيين مشرفًا', 'info.drop_admin': 'إلغاء الإشراف', 'info.remove': 'إزالة من المجموعة',
  'info.block_title': 'حظر {name}؟', 'info.block_more': 'لن يستطيع أي منكما مراسلة الآخر أو رؤية حالة اتصاله.', 'info.message': 'مراسلة', 'info.member_actions': 'إجراءات {name}',
  'set.title': 'الإعدادات', 'set.profile': 'ملفي', 'set.account': 'الحساب', 'set.devices': 'الأجهزة', 'set.look': 'المظهر', 'set.privacy': 'الخصوصية',
  'set.nick': 'الاسم المستعار', 'set.nick_hint': 'من 3 إلى 25 من a–z و0–9 والنقطة والشرطة السفلية.',
  'set.private': 'ملف خاص', 'set.private_hint': 'لا يظهر في البحث، ويخفي حالة اتصالك.', 'set.presence': 'إظهار حالة اتصالي', 'set.presence_hint': 'وعلامات القراءة أيضًا. إن أخفيت ما لديك فلن ترى ما لدى الآخرين.',
  'set.password': 'تغيير كلمة المرور', 'set.old_password': 'كلمة المرور الحالية', 'set.new_password': 'كلمة المرور الجديدة', 'set.repeat_password': 'أعدها', 'set.password_done': 'تغيّرت كلمة المرور، وسُجّل خروج أجهزتك الأخرى.',
  'set.delete': 'حذف الحساب', 'set.delete_title': 'حذف حسابك؟', 'set.delete_more': 'يُمحى ملفك وبريدك وملفاتك. لا يمكن التراجع عن ذلك.',
  'set.delete_messages': 'احذف رسائلي أيضًا', 'set.this_device': 'هذا الجهاز', 'set.revoke_name': 'تسجيل خروج {name}', 'set.revoke_all': 'تسجيل خروج كل الأجهزة الأخرى', 'set.active': 'نشط {when}',
  'set.theme': 'السمة', 'set.theme_system': 'النظام', 'set.theme_light': 'فاتحة', 'set.theme_dark': 'داكنة', 'set.lang': 'اللغة',

};

const WORDS = { en, ar };
let current = local.get('lang') ?? (navigator.languages ?? []).map((tag) => tag.slice(0, 2)).find((tag) => tag in WORDS) ?? 'en';
let plural, formats;

export const lang = () => current;
export const dir = () => (current === 'ar' ? 'rtl' : 'ltr');

export function setLang(next) {
  current = next in WORDS ? next : 'en';
  local.set('lang', current);
  plural = new Intl.PluralRules(current);
  // The browser's own variant of the language, and its 12- or 24-hour clock in each language.
  const own = new Intl.DateTimeFormat(undefined, { hour: 'numeric' }).resolvedOptions();
  const locale = [own.locale, ...(navigator.languages ?? [])].find((tag) => tag.split('-')[0] === current) ?? current;
  const { hourCycle } = own;
  const made = (options) => new Intl.DateTimeFormat(locale, options);
  formats = {
    time: made({ hour: 'numeric', minute: '2-digit', hourCycle }),
    weekday: made({ weekday: 'long' }),
    short: made({ day: 'numeric', month: 'short' }),
    day: made({ day: 'numeric', month: 'long' }),
    year: made({ day: 'numeric', month: 'short', year: 'numeric' }),
    full: made({ dateStyle: 'medium', timeStyle: 'short', hourCycle }),
    number: new Intl.NumberFormat(locale),
    ago: new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }),
    list: new Intl.ListFormat(locale),
  };
  document.documentElement.lang = current;
  document.documentElement.dir = dir();
}

export function t(key, params = {}) {
  let words = WORDS[current][key] ?? en[key] ?? key;
  if (typeof words === 'object') words = words[plural.select(params.count)] ?? words.other;
  return words.replace(/\{(\w+)\}/g, (_, name) => (typeof params[name] === 'number' ? formats.number.format(params[name]) : params[name] ?? ''));
}

const capital = (word) => word[0].toLocaleUpperCase() + word.slice(1);
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
const daysAgo = (date) => Math.round((midnight(new Date()) - midnight(date)) / DAY_MS);

export const timeOf = (iso) => formats.time.format(new Date(iso));
export const fullTime = (iso) => formats.full.format(new Date(iso));
export const number = (value) => formats.number.format(value);
export const listOf = (items) => formats.list.format(items);

export function briefly(iso) {
  const date = new Date(iso), days = daysAgo(date);
  if (days <= 0) return formats.time.format(date);
  if (days === 1) return capital(formats.ago.format(-1, 'day'));
  return days < 7 ? formats.weekday.format(date) : formats.short.format(date);
}

export function dayOf(iso) {
  const date = new Date(iso), days = daysAgo(date);
  if (days <= 1) return capital(formats.ago.format(-Math.max(0, days), 'day'));
  if (days < 7) return formats.weekday.format(date);
  return (date.getFullYear() === new Date().getFullYear() ? formats.day : formats.year).format(date);
}

export function ago(iso) {
  const minutes = Math.floor((Date.now() - Date.parse(iso)) / 60_000);
  if (minutes < 1) return formats.ago.format(0, 'second');
  if (minutes < 60) return formats.ago.format(-minutes, 'minute');
  if (minutes < 24 * 60) return formats.ago.format(-Math.floor(minutes / 60), 'hour');
  return formats.ago.format(-Math.floor(minutes / 1440), 'day');
}

export function bytes(size) {
  const units = ['byte', 'kilobyte', 'megabyte'];
  let i = 0;
  for (; size >= 1000 && i < units.length - 1; i++) size /= 1024;
  return new Intl.NumberFormat(current, { style: 'unit', unit: units[i], unitDisplay: i ? 'short' : 'long', maximumFractionDigits: size < 10 && i ? 1 : 0 }).format(size);
}

setLang(current);
