# A mail was moved to Junk: it is spam.

require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

if environment :matches "imap.user" "*" {
  set "user" "${1}";
}

pipe :copy :try "teach.sh" ["spam", "${user}"];
