# shellcheck shell=bash
# The Debian 12 packages that Tradewind needs: the only list, sourced by launcher/quickstart and tests/run.
#
# (ocl-icd-opencl-dev: the CMake package of Debian's libdnnl-dev asks for OpenCL.)
#
# packages_of GROUP...   prints the packages of the groups, one a line. Groups: build, test.
# missing_of GROUP...    prints those that are not there. An entry "package=command" is also satisfied by the command alone.
# install_missing YES GROUP...
#                        installs them through apt where it may: as root, or through sudo. YES=1 does not ask; YES=0 asks on
#                        a terminal and goes ahead where there is none; YES=never only says what is missing and fails.

packages_of() {
  local group
  for group in "$@"; do
    case $group in
      build)
        printf '%s\n' g++=g++ cmake=cmake ninja-build=ninja pkg-config=pkg-config libdnnl-dev libhwy-dev libxxhash-dev \
          libzstd-dev liblzma-dev zlib1g-dev libicu-dev nlohmann-json3-dev libfmt-dev libtomlplusplus-dev libcli11-dev \
          libhdf5-dev libopenmpi-dev openmpi-bin=mpirun ocl-icd-opencl-dev
        ;;
      test)
        printf '%s\n' git=git libboost-test-dev libboost-context-dev clang-format=clang-format clang-tidy=clang-tidy shellcheck=shellcheck \
          ccache=ccache python3=python3 python3-numpy python3-h5py hdf5-tools=h5dump
        ;;
      *)
        echo "packages.sh: no group '$group' (build, test)" >&2
        return 2
        ;;
    esac
  done
}

missing_of() {
  local entry package
  for entry in $(packages_of "$@"); do
    package=${entry%%=*}
    [[ $entry == *=* ]] && command -v "${entry#*=}" >/dev/null 2>&1 && continue
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

# Megabytes free on the file system that holds (or will hold) a path.
free_megabytes() { df -Pm "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }

install_missing() {
  local yes=$1 missing answer as_root=()
  shift
  if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is no Debian (there is no dpkg): taking it that these are installed: $(packages_of "$@" | sed 's/=.*//' | xargs)" >&2
    return 0
  fi
  missing=$(missing_of "$@" | xargs)
  [[ -z $missing ]] && return 0
  echo "Missing packages: $missing"
  if [[ $(id -u) -ne 0 ]] && command -v sudo >/dev/null 2>&1; then as_root=(sudo); fi
  if [[ $yes == never ]] || { [[ $(id -u) -ne 0 ]] && [[ ${#as_root[@]} -eq 0 ]]; }; then
    echo "Install them as root, then run this again:  apt-get update && apt-get install --no-install-recommends $missing" >&2
    return 1
  fi
  if [[ $yes == 0 && -t 0 && -t 1 ]]; then
    read -r -p "Install them now with ${as_root[*]:+${as_root[*]} }apt-get? [Y/n] " answer
    if [[ $answer == [nN]* ]]; then
      echo "Nothing was installed. To do it yourself:  apt-get install --no-install-recommends $missing" >&2
      return 1
    fi
  fi
  if [[ $(free_megabytes /usr) -lt 1500 || $(free_megabytes /var) -lt 300 ]]; then
    echo "Too little disk space for the packages: /usr has $(free_megabytes /usr) MB free (1500 needed), /var has" \
      "$(free_megabytes /var) MB (300 needed). Make room and run this again." >&2
    return 1
  fi
  echo "Installing them with apt-get ..."
  # A terminal's Ctrl-C reaches apt as well; without one apt must never ask.
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq &&
      apt-get install -y -qq --no-install-recommends $missing >/dev/null" </dev/null; then
    echo "apt-get could not install: $missing. Its messages are above; mend that and run this again." >&2
    return 1
  fi
}
