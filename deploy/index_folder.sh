# shellcheck shell=bash
# Where the index of a corpus lies. Sourced by deploy/deploy_config.sh, never run.

# index_folder CORPUS: indexes/NAME-MARK, the mark from size, first and last MiB of the file, so that two corpora of one
# name, or one before and after an edit, have two folders; INDEX_KIND is added to the name of an index that is not the usual
# one. Nothing for no corpus; the name alone where there is no file.
index_folder() {
  local name=${1##*/} mark kind=${INDEX_KIND:+-$INDEX_KIND}
  [[ -n $1 ]] || return 0
  if [[ -f $1 && -r $1 ]]; then
    mark=$({ wc -c < "$1"; head -c 1048576 < "$1"; tail -c 1048576 < "$1"; } | cksum)
    printf 'indexes/%s-%08x%s' "${name%.*}" "${mark%% *}" "$kind"
  else
    printf 'indexes/%s%s' "${name%.*}" "$kind"
  fi
}
