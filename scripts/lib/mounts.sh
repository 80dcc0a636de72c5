# shellcheck shell=bash
# Small file systems below $dir, for disks that are full or cannot be written to.
# shellcheck disable=SC2154 # The script that sources this sets dir.

# Who owns the folder above owns it, and may do the same there.
mount_folder() { # FOLDER OPTIONS
    local folder=$dir/$1
    [[ $folder =~ ^[A-Za-z0-9._/@=-]+$ ]] || die "'$1' may have only letters, digits and . _ / @ = - in its name"
    [[ -d $(dirname "$folder") ]] || die "there is no folder $(dirname "$folder") to make '$1' in"
    as_root mkdir -p "$folder"
    as_root mount -t tmpfs -o "$2" cdr-tests "$folder"
    as_root chown --reference="$(dirname "$folder")" "$folder"
    as_root chmod --reference="$(dirname "$folder")" "$folder"
}

remount_folder() { # FOLDER OPTIONS
    as_root mount -o "remount,$2" "$dir/$1"
}

unmount_folder() { # FOLDER
    # What still has a file open there does not hold it up.
    as_root umount --lazy "$dir/$1"
}

# Prints the folders below $dir that file systems are mounted at, relative to it.
mounted_folders() {
    awk -v dir="$dir/" 'index($5, dir) == 1 { print substr($5, length(dir) + 1) }' /proc/self/mountinfo
}

unmount_all() {
    local folder
    while read -r folder; do
        unmount_folder "$folder"
    done < <(mounted_folders)
}
