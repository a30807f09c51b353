-- The job for Shake: a rule for each summary and each resolution, done by persistent workers.
-- What a resolution read is told by the step that made it, and also what it looked for in vain.
import Control.Monad (forM_)
import Data.List (stripPrefix)
import Data.Maybe (fromJust)
import Development.Shake
import System.Environment (getArgs)

main :: IO ()
main = do
  [root, state, threads] <- getArgs
  let inside folder path = state ++ "/" ++ folder ++ "/" ++ path
      path folder made = fromJust (stripPrefix (state ++ "/" ++ folder ++ "/") made)
      step what arguments = cmd_ (state ++ "/client") (state ++ "/socket") what root state (arguments :: [String])
      options = shakeOptions
        {shakeFiles = state ++ "/shake", shakeThreads = read threads, shakeVerbosity = Error}
  shake options $ do
    want [state ++ "/index"]
    (state ++ "/index") %> \_ -> do
      paths <- readFileLines (state ++ "/files")
      () <- need (map (inside "sum") paths) -- a bind: two needs in a row are one group to Shake
      need (map (inside "res") paths)
      step "index" []
    (state ++ "/sum//*") %> \made -> do
      need [root ++ "/" ++ path "sum" made]
      step "summarise" [path "sum" made]
    (state ++ "/res//*") %> \made -> do
      let own = path "res" made
      need [inside "sum" own]
      step "resolve" [own]
      told <- liftIO (readFile (inside "asked" own))
      let asked = lines told
      needed [inside "sum" one | '+' : one <- asked]
      forM_ [one | '-' : one <- asked] $ \one -> doesFileExist (root ++ "/" ++ one)
