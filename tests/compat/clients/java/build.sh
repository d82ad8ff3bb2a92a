#!/bin/bash
# build.sh PROFILE OUT: the profile's jars in OUT/lib, and the driver's classes in OUT/classes.
set -euo pipefail
cd "$(dirname "$0")"
sum=$(cat pom.xml ./*.java | sha256sum)
[ "$(cat "$2/built" 2>/dev/null)" != "$sum" ] || exit 0
rm -rf "$2/lib" "$2/classes"
mvn -q -B -f pom.xml -P "$1" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$2/lib"
if [ "$1" != kafka-tools ]; then
  javac -d "$2/classes" -cp "$2/lib/*" -Xlint:-deprecation ./*.java
fi
echo "$sum" >"$2/built"
